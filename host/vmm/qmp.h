/*
 * A client for QEMU's machine protocol: one JSON object a line, over a unix socket. A call connects,
 * negotiates, gives one command, reads its answer and closes; events that arrive in between are skipped. QEMU
 * serves one connection at a time. Any thread.
 */
#ifndef SMARTVM_HOST_VMM_QMP_H
#define SMARTVM_HOST_VMM_QMP_H

#include "core/error.h"
#include "core/json.h"

enum { QMP_LINE_MAX = 16 * 1024 }; /* bytes of one line; a longer one is VMM_FAILED */

/*
 * Gives `command`, the text of a command ("{\"execute\": \"stop\"}"). *ret is the member "return" of the
 * answer, a new reference; ret may be NULL. timeout_ms bounds the whole call. Errors: TIMEOUT; VMM_FAILED
 * with QEMU's own words, with sys_errno ENOENT or ECONNREFUSED when nobody listens on the socket.
 */
int qmp_call(const char *socket, const char *command, int timeout_ms, json_t **ret, struct error *err);

#endif
