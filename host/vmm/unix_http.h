/* One HTTP request over a unix socket, through libcurl: connect, ask, read the reply, close. Any thread. */
#ifndef SMARTVM_HOST_VMM_UNIX_HTTP_H
#define SMARTVM_HOST_VMM_UNIX_HTTP_H

#include "core/error.h"

#include <sys/types.h>

enum { UNIX_HTTP_REPLY_MAX = 1024 * 1024 }; /* bytes of a reply's body; a longer one is VMM_FAILED */

struct unix_http_reply {
    long status; /* of HTTP */
    char *body;  /* owned, terminated */
    size_t len;
};

#define UNIX_HTTP_REPLY_INIT ((struct unix_http_reply){0, NULL, 0})

void unix_http_reply_free(struct unix_http_reply *reply);
#define AUTO_UNIX_HTTP_REPLY __attribute__((cleanup(unix_http_reply_free))) struct unix_http_reply

/* Will the process at the other end never answer? Asked from time to time while there is no answer. */
typedef bool unix_http_hopeless(pid_t peer);

/* Is who listens the one that is meant? Asked once `fd` is connected, before a byte is sent. Not: an error. */
struct unix_http_check {
    int (*check)(const void *ctx, int fd, struct error *err);
    const void *ctx;
    const char *name; /* of the socket, for messages */
};

/*
 * `body` is JSON, or NULL for none. timeout_ms bounds the whole call. `check` and `hopeless` may be NULL. Every HTTP status is a success here.
 * Errors: TIMEOUT; VMM_FAILED, with sys_errno ENOENT or ECONNREFUSED when nobody listens on the socket, and EOWNERDEAD when it is hopeless.
 */
int unix_http_call(const char *socket, const struct unix_http_check *check, const char *method, const char *target, const char *body, int timeout_ms,
                   unix_http_hopeless *hopeless, struct unix_http_reply *ret, struct error *err);

#endif
