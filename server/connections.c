#include "server/connections.h"

#include "server/http.h"

#include "core/clock.h"
#include "core/log.h"
#include "core/net_addr.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { OF_LISTENER, OF_PEER }; /* which of the two lists */

/* A client that has connections. */
struct peer {
    uint64_t key;
    size_t count;
    struct peer *next; /* in its place of the table */
    struct connection_list reading;
};

static const char *const reasons[CONNECTION_CLOSINGS_] = {
    [CONNECTION_CLOSED_HEAD] = "head_timeout",
    [CONNECTION_CLOSED_BODY] = "body_timeout",
    [CONNECTION_CLOSED_PEER] = "max_connections_per_peer",
    [CONNECTION_CLOSED_LISTENER] = "max_connections",
};

static struct peer **place_of(struct server *server, uint64_t key)
{
    return &server->peers[(key * 0x9e3779b97f4a7c15U) >> 56];
}

static struct peer *peer_get(struct server *server, uint64_t key)
{
    struct peer **place = place_of(server, key);
    for (struct peer *peer = *place; peer != NULL; peer = peer->next) {
        if (peer->key == key) {
            return peer;
        }
    }
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer != NULL) {
        *peer = (struct peer){.key = key, .next = *place};
        *place = peer;
    }
    return peer;
}

static void peer_put(struct server *server, struct peer *peer)
{
    struct peer **place = place_of(server, peer->key);
    if (--peer->count > 0) {
        return;
    }
    while (*place != peer) {
        place = &(*place)->next;
    }
    *place = peer->next;
    free(peer);
}

static void list_add(struct connection_list *list, struct connection *connection, int which)
{
    connection->older[which] = list->newest;
    connection->newer[which] = NULL;
    if (list->newest != NULL) {
        list->newest->newer[which] = connection;
    } else {
        list->oldest = connection;
    }
    list->newest = connection;
}

static void list_remove(struct connection_list *list, struct connection *connection, int which)
{
    struct connection *older = connection->older[which];
    struct connection *newer = connection->newer[which];
    if (older != NULL) {
        older->newer[which] = newer;
    } else {
        list->oldest = newer;
    }
    if (newer != NULL) {
        newer->older[which] = older;
    } else {
        list->newest = older;
    }
}

static void leave_lists(struct connection *connection)
{
    if (connection->phase != CONNECTION_BUSY) {
        list_remove(&connection->listener->reading[connection->phase], connection, OF_LISTENER);
        list_remove(&connection->peer->reading, connection, OF_PEER);
        connection->phase = CONNECTION_BUSY;
    }
}

/* From here on it counts no more. */
static void let_go(struct connection *connection)
{
    leave_lists(connection);
    connection->listener->connections--;
    peer_put(connection->listener->server, connection->peer);
    connection->peer = NULL;
}

/* libmicrohttpd sees the end of the socket, as if the client had left, when it runs next. */
static void shut(struct connection *connection, enum connection_closing why)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct listener *listener = connection->listener;
    let_go(connection);
    if (info != NULL) {
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    }
    listener->must_run = true;
    listener->server->closings[why]++;
    (void)snprintf(listener->server->closed_peer[why], sizeof listener->server->closed_peer[why], "%s", connection->text);
}

/* One line a second at most of each reason: many are closed when somebody floods. */
static void tell_closings(struct server *server, int64_t now_ms)
{
    for (size_t i = 0; i < CONNECTION_CLOSINGS_; i++) {
        char count[24];
        if (server->closings[i] == 0 || now_ms < server->told_ms[i] + CONNECTION_TELL_MS) {
            continue;
        }
        (void)snprintf(count, sizeof count, "%zu", server->closings[i]);
        log_event(LOG_INFO, "http.connections_closed", "reason", reasons[i], "count", count, "peer", server->closed_peer[i], NULL);
        server->closings[i] = 0;
        server->told_ms[i] = now_ms;
    }
}

static size_t share(const struct server *server)
{
    const size_t listeners = server->setup->socket_count > 0 ? server->setup->socket_count : 1;
    const size_t places = server->setup->limits.max_connections / listeners;
    return places > 0 ? places : 1;
}

/* Never all places of a listener: another peer finds one. */
static size_t share_of_peer(const struct server *server)
{
    const size_t most = share(server) * 3 / 4;
    const size_t wanted = server->setup->limits.max_connections_per_peer;
    return wanted < most || most == 0 ? wanted : most;
}

/* The one that has been reading for the longest; one that is just sending a body comes after those that are idle. */
static struct connection *oldest_of(struct listener *listener)
{
    struct connection *head = listener->reading[CONNECTION_HEAD].oldest;
    return head != NULL ? head : listener->reading[CONNECTION_BODY].oldest;
}

static void make_room(struct connection *connection)
{
    struct listener *listener = connection->listener;
    struct peer *peer = connection->peer;
    struct connection *victim = peer->reading.oldest;
    if (peer->count > share_of_peer(listener->server) && victim != connection && victim != NULL) {
        shut(victim, CONNECTION_CLOSED_PEER);
    }
    victim = oldest_of(listener);
    if (listener->connections > share(listener->server) && victim != connection && victim != NULL) {
        shut(victim, CONNECTION_CLOSED_LISTENER);
    }
}

static bool is_beyond(const struct connection *connection)
{
    const struct server *server = connection->listener->server;
    return connection->peer->count > share_of_peer(server) || connection->listener->connections > share(server);
}

/* Who is at the other end, as a number and in words. */
static uint64_t describe(int fd, bool is_tcp, char *text, size_t size)
{
    if (is_tcp) {
        struct sockaddr_in address = {0};
        char ip[IPV4_TEXT_MAX];
        socklen_t len = sizeof address;
        (void)getpeername(fd, (struct sockaddr *)&address, &len);
        (void)snprintf(text, size, "%s", ipv4_format(ntohl(address.sin_addr.s_addr), ip));
        return 1ULL << 32 | ntohl(address.sin_addr.s_addr);
    }
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
        (void)snprintf(text, size, "uid=%u pid=%d", (unsigned)cred.uid, (int)cred.pid);
    }
    return cred.uid;
}

struct connection *connection_open(struct listener *listener, struct MHD_Connection *handle)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *connection = calloc(1, sizeof *connection);
    const int fd = info != NULL ? info->connect_fd : -1;
    if (connection != NULL) {
        *connection = (struct connection){.listener = listener, .connection = handle, .phase = CONNECTION_BUSY};
        connection->peer = peer_get(listener->server, describe(fd, listener->is_tcp, connection->text, sizeof connection->text));
    }
    if (connection == NULL || connection->peer == NULL) {
        free(connection);
        (void)shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    connection->peer->count++;
    listener->connections++;
    connection_enter(connection, CONNECTION_HEAD);
    make_room(connection);
    connection->is_over = is_beyond(connection);
    return connection;
}

void connection_close(struct connection *connection)
{
    if (connection != NULL && connection->peer != NULL) {
        let_go(connection);
    }
    free(connection);
}

struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

void connection_enter(struct connection *connection, enum connection_phase phase)
{
    if (connection == NULL || connection->peer == NULL) {
        return;
    }
    const struct server_limits *limits = &connection->listener->server->setup->limits;
    const unsigned seconds = phase == CONNECTION_BODY ? limits->body_timeout_s : limits->head_timeout_s;
    leave_lists(connection);
    connection->phase = phase;
    if (phase != CONNECTION_BUSY) {
        connection->deadline_ms = clock_monotonic_ms() + (int64_t)seconds * 1000;
        list_add(&connection->listener->reading[phase], connection, OF_LISTENER);
        list_add(&connection->peer->reading, connection, OF_PEER);
    }
}

bool connection_is_over(struct connection *connection)
{
    if (connection == NULL || connection->peer == NULL) {
        return false; /* it is closed */
    }
    connection->is_over = connection->is_over && is_beyond(connection);
    return connection->is_over;
}

void connections_due(struct server *server, int64_t now_ms)
{
    static const enum connection_closing why[CONNECTION_PHASES_] = {[CONNECTION_HEAD] = CONNECTION_CLOSED_HEAD, [CONNECTION_BODY] = CONNECTION_CLOSED_BODY};
    for (size_t i = 0; i < server->listener_count; i++) {
        for (size_t phase = 0; phase < CONNECTION_PHASES_; phase++) {
            const struct connection_list *list = &server->listeners[i].reading[phase];
            while (list->oldest != NULL && list->oldest->deadline_ms <= now_ms) {
                shut(list->oldest, why[phase]);
            }
        }
    }
    tell_closings(server, now_ms);
}

int64_t connections_next_deadline(const struct server *server)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < server->listener_count; i++) {
        for (size_t phase = 0; phase < CONNECTION_PHASES_; phase++) {
            const struct connection *oldest = server->listeners[i].reading[phase].oldest;
            next = oldest != NULL && oldest->deadline_ms < next ? oldest->deadline_ms : next;
        }
    }
    for (size_t i = 0; i < CONNECTION_CLOSINGS_; i++) {
        const int64_t tell_ms = server->told_ms[i] + CONNECTION_TELL_MS;
        next = server->closings[i] > 0 && tell_ms < next ? tell_ms : next;
    }
    return next;
}
