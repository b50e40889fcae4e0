/*
 * A client for QEMU's machine protocol: one JSON object a line, over a unix socket. A call negotiates, gives one command and reads its answer; events that
 * arrive in between are skipped. QEMU serves one connection at a time, so each has one call, and is closed. Any thread.
 */
#ifndef SMARTVM_HOST_VMM_QMP_H
#define SMARTVM_HOST_VMM_QMP_H

#include "core/error.h"
#include "core/json.h"

enum { QMP_LINE_MAX = 16 * 1024 }; /* bytes of one line; a longer one is VMM_FAILED */

/*
 * Gives `command`, the text of a command ("{\"execute\": \"stop\"}"). *ret is the member "return" of the
 * answer, a new reference; ret may be NULL. timeout_ms bounds the whole call. `fd` is connected and not blocking, and stays the caller's; `name` is
 * for messages. Errors: TIMEOUT; VMM_FAILED with QEMU's own words.
 */
int qmp_call(int fd, const char *name, const char *command, int timeout_ms, json_t **ret, struct error *err);

#endif
