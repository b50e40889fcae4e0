/*
 * The API process at work: one thread, one epoll set with the listeners (libmicrohttpd in its external mode),
 * the socket to the worker and the signals. Takes requests from clients to api_handle() and its replies back,
 * holds those that wait, and passes questions and wake-ups to the worker. Wakes up for events and deadlines
 * only.
 */
#ifndef SMARTVM_SERVER_LOOP_H
#define SMARTVM_SERVER_LOOP_H

#include "api/api.h"
#include "core/error.h"
#include "server/listen.h"

/* The way to the worker. Made before the api object, which calls server_wake(link, key) after a write. */
struct server_link {
    int socket;    /* of ipc_pair(); stays the caller's */
    bool wake_all; /* private: a wake-up did not fit; one for everything follows when there is room */
};

/* IPC_WAKE with a key of the worker's queue. Never waits and never loses: see wake_all. `link`: struct
 * server_link. */
void server_wake(void *link, const char *key);

/* As the configuration has them: `http` in components/x-schemas/Config of openapi.yaml. */
struct server_limits {
    unsigned max_connections, max_connections_per_peer; /* at least 1 */
    unsigned head_timeout_s, body_timeout_s;
};

struct server_setup {
    struct listen_socket *sockets; /* the descriptors are taken over and set to -1 */
    size_t socket_count;
    struct api *api;
    struct server_link *link;
    struct server_limits limits;
    bool log_requests; /* a line for each request, at debug level */
};

/*
 * Runs until SIGTERM or SIGINT (returns 0) or until the worker is gone (-1, UNAVAILABLE). Both end it in
 * order: no new connections, those who wait get the answer of their deadline, streams end, and after a second
 * at most all is closed. Blocks the two signals while it runs and ignores SIGPIPE for good.
 *
 * ops->answer() of a reply gets the whole message of the worker ({"answer": …} or {"error": …}), or NULL.
 */
int server_run(const struct server_setup *setup, struct error *err);

#endif
