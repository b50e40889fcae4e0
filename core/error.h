/*
 * One error object, passed down by the caller and filled where the fault is known.
 *
 * Functions that can fail return 0 on success and -1 on failure, and take a `struct error *err` last. On success err
 * is never touched. On failure it holds a stable code (the `code` of the problem+json reply), the errno when the
 * kernel gave one, and a sentence for the person who reads it. `err` may be NULL when the caller does not care.
 */
#ifndef SMARTVM_CORE_ERROR_H
#define SMARTVM_CORE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum error_code {
#define X(name, status, title, sentence) ERR_##name,
#include "core/error.def"
#undef X
    ERR_COUNT_
};

enum { ERROR_MESSAGE_MAX = 1024 }; /* bytes, with the terminator; longer messages end in "..." */

struct error {
    enum error_code code;
    int sys_errno; /* 0 when no system call failed */
    char message[ERROR_MESSAGE_MAX];
};

/* Fills *err and returns -1, so that `return error_set(...)` is the way out of a function. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like error_set(), with `: <words of the kernel>` appended for errnum. */
int error_sys(struct error *err, enum error_code code, int errnum, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Puts `<text>: ` before the message that is there. Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int error_oom(struct error *err);

const char *error_code_name(enum error_code code); /* "INVALID_STATE" */
const char *error_code_title(enum error_code code);
int error_code_status(enum error_code code); /* HTTP status */
/*
 * The HTTP status of the reply to a write that was accepted and waited for, and then ended with this code: its own where it is 409 or of the 500 family,
 * else 409. The request was in order, so it is what it asked for that is in conflict with what was found on the host.
 */
int error_code_status_of_end(enum error_code code);
bool error_code_from_name(const char *name, enum error_code *ret);

#endif
