/*
 * What the parts of the listener share. Private to server/: loop.c (the event loop), http.c (libmicrohttpd's
 * callbacks), head.c (checks of a request's head), reply.c (from api_reply to the wire), hold.c (replies that
 * wait), link.c (the worker), linger.c (closing without losing the reply), connections.c (whose they are, and how long they may take).
 */
#ifndef SMARTVM_SERVER_HTTP_H
#define SMARTVM_SERVER_HTTP_H

#include "api/api.h"
#include "core/limits.h"
#include "core/strbuf.h"
#include "server/connections.h"
#include "server/loop.h"
#include "server/wait_index.h"

#include <microhttpd.h>

/* What an event of the epoll set is about; the first member of each structure that is registered there. */
enum source_kind { SOURCE_LISTENER, SOURCE_REQUEST, SOURCE_WORKER, SOURCE_SIGNAL, SOURCE_LINGER };

struct source {
    enum source_kind kind;
};

struct listener {
    struct source source;
    struct server *server;
    struct MHD_Daemon *daemon;
    bool is_tcp;
    size_t connections; /* those that were not closed here */
    struct connection_list reading[CONNECTION_PHASES_];
    bool must_run;  /* something happened that libmicrohttpd must look at */
    int64_t due_ms; /* its own next deadline */
};

enum request_phase {
    REQUEST_HEAD,    /* the request line has come */
    REQUEST_BODY,    /* the head is checked; the body, if any, arrives */
    REQUEST_HELD,    /* suspended: the reply waits or asks */
    REQUEST_READY,   /* the reply can be sent */
    REQUEST_REPLIED, /* handed to libmicrohttpd; a stream may be held again and again */
};

enum { TARGET_INLINE = 256, REQUESTS_KEPT = 64 };

struct request {
    struct source source;
    struct listener *listener;
    struct MHD_Connection *connection;
    struct request *next; /* in the list of unused ones, or of those that asked */
    enum request_phase phase;
    bool has_reply;
    bool is_gone;    /* the client left */
    bool is_held;    /* suspended */
    bool is_watched; /* its socket is in the epoll set */
    bool is_stream;  /* counted in server->streams */
    bool has_body;   /* the head says that one follows */
    unsigned status; /* sent */
    int64_t started_us;
    uint64_t question; /* number, while it asks */
    size_t drained;    /* bytes of a body that is too large, read and thrown away */
    char *target;      /* inline_target, or owned */
    size_t target_len;
    size_t header_bytes;
    bool too_many_headers;
    struct strbuf body;
    struct waiter waiter;
    struct api_reply reply;
    struct api_request api;
    struct api_header headers[LIMIT_HEADERS];
    char inline_target[TARGET_INLINE];
};

enum { LINGER_MAX = 32 };

struct lingerer {
    struct source source;
    int fd; /* -1: unused */
    size_t left;
    int64_t deadline_ms;
};

struct server {
    const struct server_setup *setup;
    struct source worker;
    struct source signal;
    int epoll_fd;
    int signal_fd;
    bool is_stopping;
    bool worker_gone;
    bool wants_write; /* EPOLLOUT is asked for on the worker's socket */
    struct listener *listeners;
    size_t listener_count;
    size_t active;  /* requests between their first line and their last byte */
    size_t waiting; /* requests that wait or ask */
    size_t streams;
    struct waiters waiters;
    struct request *asked; /* oldest question first, as the worker answers them */
    struct request **asked_end;
    uint64_t last_question;
    uint64_t next_id; /* of requests: a counter from a random start */
    struct request *unused;
    size_t unused_count;
    struct peer *peers[CONNECTION_PEER_PLACES];
    size_t closings[CONNECTION_CLOSINGS_];                                           /* that were not told yet */
    char closed_peer[CONNECTION_CLOSINGS_][sizeof((struct connection *)NULL)->text]; /* the last one */
    int64_t told_ms[CONNECTION_CLOSINGS_];
    struct lingerer lingering[LINGER_MAX];
    size_t linger_count;
};

/* http.c: one libmicrohttpd daemon per socket */
int http_open(struct server *server, struct listener *listener, struct listen_socket *socket, struct error *err);
void http_run(struct listener *listener, int64_t now_ms);
void http_quiesce(struct listener *listener); /* no new connections */
void http_close(struct listener *listener);

/* head.c */
void head_read(struct request *request);
int head_check(struct request *request, const char *version, struct error *err);
void head_set_request_id(struct request *request);

/* reply.c */
enum MHD_Result reply_queue(struct request *request);
void reply_set_problem(struct request *request, enum error_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* hold.c: moves the reply on to where its kind belongs; then the request is READY or HELD */
void hold_settle(struct request *request);
void hold_suspend(struct request *request);
void hold_stream(struct request *request); /* from inside the reader of a stream: nothing to send */
void hold_changed(struct waiter *list);    /* of waiters_take_key() */
void hold_answered(struct request *request, const json_t *answer, int fd);
void hold_due(struct server *server, int64_t now_ms);
void hold_client_gone(struct request *request);
void hold_end_all(struct server *server, bool is_gone); /* answers, or with is_gone abandons, all that is held */
void hold_forget(struct request *request);              /* the request has ended */

/* link.c */
int link_ask(struct request *request);
void link_forget(struct request *request);
void link_read(struct server *server);
void link_write(struct server *server);

/* linger.c */
void linger_add(struct server *server, const struct request *request);
void linger_read(struct server *server, struct lingerer *linger);
void linger_due(struct server *server, int64_t now_ms);
int64_t linger_next_deadline(const struct server *server);
void linger_close_all(struct server *server);

#endif
