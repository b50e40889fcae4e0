/*
 * Messages between the API process and the worker, over one SOCK_SEQPACKET socketpair made before the fork.
 * A message is a type, a number, a text of at most LIMIT_QUESTION_BYTES, and at most one descriptor. Nothing
 * here changes what is wanted: that is rows in the database. The descriptor must be non-blocking; sends never
 * wait.
 */
#ifndef SMARTVM_CORE_IPC_H
#define SMARTVM_CORE_IPC_H

#include "core/error.h"

#include <stdint.h>

enum ipc_type {
    IPC_WAKE,     /* API → worker: text is a key of the queue, "vm/<id>"; look at it */
    IPC_QUESTION, /* API → worker: number identifies it, text is {"question": <name>, …} */
    IPC_CHANGED,  /* worker → API: text is a key whose row (or console) changed; "" = anything may have */
    IPC_ANSWER,   /* worker → API: number of the question, text is {"answer": …} or {"error": {"code", "message"}}
                 */
};

struct ipc_message {
    enum ipc_type type;
    uint64_t number;
    char *text; /* owned by the receiver, terminated */
    int fd;     /* owned by the receiver, or -1 */
};

int ipc_pair(int fds[2], struct error *err); /* both non-blocking and CLOEXEC */

/*
 * sys_errno EAGAIN when the other side does not read fast enough, EPIPE when it is gone; PAYLOAD_TOO_LARGE
 * when the text is too long. `fd` (or -1) stays the caller's.
 */
int ipc_send(int socket, enum ipc_type type, uint64_t number, const char *text, int fd, struct error *err);

/*
 * Fails with sys_errno EAGAIN when nothing is there, with EPIPE and *ret_closed set when the other side is
 * gone and all that it sent was read, and with BAD_REQUEST for a malformed message, which is consumed.
 * *ret_closed is always set, *ret only on success.
 */
int ipc_receive(int socket, struct ipc_message *ret, bool *ret_closed, struct error *err);
void ipc_message_free(struct ipc_message *message); /* harmless on NULL */

#endif
