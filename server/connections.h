/*
 * Private to server/: whose a connection is, and how long it may still take. libmicrohttpd knows only how long one was silent, and only how many there are.
 *
 * A connection reads a head, then perhaps a body, then it is busy with the request until its reply is sent, and reads the next head. For a head (from the
 * beginning of the connection, or the end of the last reply) and for a body (from the end of the head) there is an absolute time; who takes longer is closed.
 * Busy ones, which wait for ?wait=, or for events and consoles, have no limit here.
 *
 * Each peer (the uid behind a unix socket, the address behind TCP) has so many connections at once, fewer than its listener has places; and each listener has its
 * share of all. Who comes beyond takes the place of the one that has been reading for the longest, of the same peer or listener: so slow ones shut nobody out. Only
 * where all are busy, what comes is answered with 503.
 */
#ifndef SMARTVM_SERVER_CONNECTIONS_H
#define SMARTVM_SERVER_CONNECTIONS_H

#include "api/api.h"

#include <microhttpd.h>

struct listener;
struct server;

enum connection_phase { CONNECTION_HEAD, CONNECTION_BODY, CONNECTION_PHASES_, CONNECTION_BUSY = CONNECTION_PHASES_ };

/* Why a connection is closed here; the log tells the words. */
enum connection_closing {
    CONNECTION_CLOSED_HEAD,     /* its time for a head was over */
    CONNECTION_CLOSED_BODY,     /* or for a body */
    CONNECTION_CLOSED_PEER,     /* another one of its peer came, who has no more places */
    CONNECTION_CLOSED_LISTENER, /* another one came, and the listener has no more places */
    CONNECTION_CLOSINGS_
};

enum {
    CONNECTION_PEER_PLACES = 256, /* of the table of peers */
    CONNECTION_CLOSING_ROOM = 64, /* connections that are closed here already, and that libmicrohttpd has not noticed yet */
    CONNECTION_TELL_MS = 1000,    /* at least, between two lines of the log with one reason */
};

struct peer;

struct connection {
    struct listener *listener;
    struct MHD_Connection *connection;
    struct peer *peer; /* NULL: it was closed here, and libmicrohttpd has not noticed yet */
    enum connection_phase phase;
    bool is_over; /* beyond a limit when it came */
    int64_t deadline_ms;
    struct connection *older[2], *newer[2]; /* that read: by phase and listener, and by peer */
    char text[sizeof((struct api_request *)NULL)->peer];
};

/* The connections of a listener that read, by phase, and those of a peer: the oldest first, which is also the one whose time is over first. */
struct connection_list {
    struct connection *oldest, *newest;
};

/* A new one; NULL when out of memory: then it is closed. */
struct connection *connection_open(struct listener *listener, struct MHD_Connection *connection);
void connection_close(struct connection *connection);                /* libmicrohttpd's part has ended; harmless on NULL */
struct connection *connection_of(struct MHD_Connection *connection); /* may be NULL */

/* What it does from now on. */
void connection_enter(struct connection *connection, enum connection_phase phase);

/* It came beyond a limit, and nothing has become free since. */
bool connection_is_over(struct connection *connection);

void connections_due(struct server *server, int64_t now_ms);
int64_t connections_next_deadline(const struct server *server);

#endif
