/*
 * The API behind the listener, and the listener's view of it. server/ hands over a whole request;
 * api_handle() routes and checks it by openapi.yaml, and answers with a reply that is either complete, or
 * waits for a change, asks the worker, or streams. Knows nothing of libmicrohttpd and of sockets.
 *
 * All functions are called from one thread, the API process's event loop. None of them blocks but for SQLite.
 * The process must ignore SIGPIPE, since console input goes into a FIFO that may have lost its reader.
 */
#ifndef SMARTVM_API_API_H
#define SMARTVM_API_API_H

#include "core/config.h"
#include "core/error.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

struct api;
struct db;
struct spec;

/* What the API works on; all of it is borrowed and outlives the api. */
struct api_setup {
    const struct spec *spec;
    const char *openapi_yaml; /* the document as it is written, served at /openapi.yaml */
    size_t openapi_yaml_len;
    struct db *db;
    const struct config *config;
    /* Called after each committed write with "vm/<id>" or "image/<id>"; it only says "look". */
    void (*wake_worker)(void *ctx, const char *key);
    void *wake_ctx;
};

/* INTERNAL when an operation of the document has no handler, or a handler no operation. */
int api_new(const struct api_setup *setup, struct api **ret, struct error *err);
void api_free(struct api *api); /* harmless on NULL */

struct api_header {
    const char *name;
    const char *value;
};

struct api_request {
    const char *method;
    const char *target; /* raw, still percent-encoded: "/vms/a?wait=5" */
    const struct api_header *headers;
    size_t header_count;
    const char *body; /* NULL when there is none */
    size_t body_len;
    bool body_too_large; /* the listener cut it off: 413 */
    char request_id[40]; /* made by the listener, or the client's X-Request-Id if it is a plain token */
    char peer[64];       /* for the log: "uid=1000 pid=4711" or "127.0.0.1" */
};

enum api_reply_kind {
    API_REPLY_BODY,   /* status, headers, body: done */
    API_REPLY_WAIT,   /* call ops->poll when `key` changed, and with expired=true at the deadline */
    API_REPLY_ASK,    /* send `question` to the worker, call ops->answer with what comes, or with NULL after
                         LIMIT_QUESTION_S */
    API_REPLY_STREAM, /* send status and headers, then what ops->read gives; when it has nothing, read again
                         when `key` changed, and every API_HEARTBEAT_MS, so that it can send a heartbeat or
                         find its end */
};

enum {
    API_KEY_MAX = 160, /* "image/" and an id of 128 bytes */
    API_REPLY_HEADERS_MAX = 12,
    API_HEARTBEAT_MS = 15000,
};

struct api_reply {
    enum api_reply_kind kind;
    int status;
    const char *media_type; /* of the body or the stream, a literal; NULL when there is none */
    struct {
        char name[32];
        char *value; /* owned */
    } headers[API_REPLY_HEADERS_MAX];
    size_t header_count;
    char *body; /* owned; NULL for none */
    size_t body_len;
    const char *static_body; /* instead of body, of body_len bytes: borrowed, lives as long as the api */
    char key[API_KEY_MAX];   /* WAIT and STREAM: what to look out for ("vm/a", "console/a", "events") */
    int64_t deadline_ms;     /* WAIT: clock_monotonic_ms() */
    char *question;          /* ASK: JSON text, owned */
    bool has_question_fd;    /* ASK: a descriptor goes with it */
    int question_fd;         /* owned */
    void *state;             /* of the handler, freed by api_reply_free() */
    const struct api_reply_ops *ops;
};

struct api_reply_ops {
    /* WAIT: returns true when the reply has become another kind (usually BODY); always does so when expired.
     */
    bool (*poll)(struct api *api, struct api_reply *reply, bool expired);
    /*
     * ASK: turns the reply into another kind. `answer` is the text of IPC_ANSWER, parsed: {"answer": …} or
     * {"error": {"code", "message"}}, borrowed; NULL: no answer in time. `fd` is -1 or handed over (the
     * handler owns it).
     */
    void (*answer)(struct api *api, struct api_reply *reply, const json_t *answer, int fd);
    /* STREAM: bytes put into buf; 0 = nothing now; -1 = the end. */
    ssize_t (*read)(struct api *api, struct api_reply *reply, char *buf, size_t size);
    void (*free_state)(void *state);
};

/* Always fills *reply (whatever was in it before); errors have become problem+json. */
void api_handle(struct api *api, const struct api_request *request, struct api_reply *reply);

/*
 * The last step of a reply, when it has become complete and before it is sent: a GET with If-None-Match or If-Match may end in 304 or 412. Harmless on
 * all others.
 */
void api_finish(struct api *api, const struct api_request *request, struct api_reply *reply);

/* A problem+json reply made by the listener itself (431, 413 before the body was read, 503 too many waiters).
 */
void api_reply_problem(struct api *api, struct api_reply *reply, const struct api_request *request, enum error_code code, const char *detail);
void api_reply_free(struct api_reply *reply); /* what it points to; leaves it zeroed */

#endif
