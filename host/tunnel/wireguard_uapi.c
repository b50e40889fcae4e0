/* The UAPI socket of a userspace implementation: lines of key=value, ended by an empty one (wireguard.com/xplatform). */
#include "core/cleanup.h"
#include "host/tunnel/wireguard_backends.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum { ANSWER_MAX = 4 * 1024 * 1024, TIMEOUT_S = 2 };

void wireguard_uapi_path(const char *interface, char *buf)
{
    (void)snprintf(buf, WIREGUARD_SOCKET_MAX, "/var/run/wireguard/%.15s.sock", interface);
}

static void wipe(struct strbuf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->size);
    }
    strbuf_free(b);
}
#define AUTO_SECRET CLEANUP(wipe) struct strbuf

static void add_key(struct strbuf *b, const char *name, const struct wireguard_key *key)
{
    char hex[WIREGUARD_KEY_HEX_MAX];
    strbuf_add(b, name);
    strbuf_add_char(b, '=');
    strbuf_add(b, wireguard_key_format_hex(key, hex));
    strbuf_add_char(b, '\n');
    explicit_bzero(hex, sizeof hex);
}

static void add_peer(struct strbuf *b, const struct wireguard_peer_change *change)
{
    const struct wireguard_device_peer *peer = change->peer;
    const struct wireguard_endpoint *endpoint = &peer->endpoint;
    char text[IP_NET_TEXT_MAX];
    add_key(b, "public_key", &peer->public_key);
    if (change->is_removed) {
        strbuf_add(b, "remove=true\n");
        return;
    }
    strbuf_add(b, change->is_new ? "" : "update_only=true\n");
    if (change->preshared_key) {
        add_key(b, "preshared_key", &peer->preshared_key);
    }
    if (change->endpoint) {
        strbuf_addf(b, endpoint->address.version == IP_V6 ? "endpoint=[%s]:%u\n" : "endpoint=%s:%u\n", ip_addr_format(&endpoint->address, text),
                    (unsigned)endpoint->port);
    }
    if (change->keepalive) {
        strbuf_addf(b, "persistent_keepalive_interval=%u\n", (unsigned)peer->keepalive);
    }
    if (change->allowed) {
        strbuf_add(b, "replace_allowed_ips=true\n");
        for (size_t i = 0; i < peer->allowed_count; i++) {
            strbuf_addf(b, "allowed_ip=%s\n", ip_net_format(&peer->allowed[i], text));
        }
    }
}

void wireguard_uapi_request(const struct wireguard_change *change, struct strbuf *ret)
{
    const struct wireguard_device *wanted = change->wanted;
    strbuf_add(ret, "set=1\n");
    if (change->private_key) {
        add_key(ret, "private_key", &wanted->private_key);
    }
    if (change->listen_port) {
        strbuf_addf(ret, "listen_port=%u\n", (unsigned)wanted->listen_port);
    }
    if (change->fwmark) {
        strbuf_addf(ret, "fwmark=%u\n", (unsigned)wanted->fwmark);
    }
    for (size_t i = 0; i < change->peer_count; i++) {
        add_peer(ret, &change->peers[i]);
    }
    strbuf_add_char(ret, '\n');
}

/* "192.0.2.1:51820" or "[2001:db8::1]:51820"; a zone is left out. */
static bool parse_endpoint(char *value, struct wireguard_endpoint *ret)
{
    char *colon = strrchr(value, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    char *host = value;
    if (host[0] == '[') {
        host++;
        host[strcspn(host, "]%")] = '\0';
    }
    ret->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    return ip_addr_parse(host, &ret->address);
}

static int parse_peer_line(struct wireguard_device_peer *peer, const char *key, char *value)
{
    struct ip_net net;
    if (strcmp(key, "preshared_key") == 0) {
        return wireguard_key_parse_hex(value, &peer->preshared_key) ? 0 : -1;
    }
    if (strcmp(key, "endpoint") == 0) {
        return parse_endpoint(value, &peer->endpoint) ? 0 : -1;
    }
    if (strcmp(key, "allowed_ip") == 0) {
        return ip_net_parse(value, ERR_WIREGUARD_SETUP_FAILED, &net, NULL) == 0 ? wireguard_device_add_allowed(peer, &net) : -1;
    }
    const unsigned long long number = strtoull(value, NULL, 10);
    if (strcmp(key, "persistent_keepalive_interval") == 0) {
        peer->keepalive = (uint16_t)number;
    } else if (strcmp(key, "last_handshake_time_sec") == 0) {
        return wireguard_handshake_time(number, 0, &peer->handshake_ms) ? 0 : -1;
    } else if (strcmp(key, "last_handshake_time_nsec") == 0) {
        return wireguard_handshake_time((uint64_t)peer->handshake_ms / 1000, number, &peer->handshake_ms) ? 0 : -1;
    } else if (strcmp(key, "rx_bytes") == 0) {
        peer->received_bytes = number;
    } else if (strcmp(key, "tx_bytes") == 0) {
        peer->sent_bytes = number;
    }
    return 0;
}

static int parse_line(struct wireguard_device *device, const char *key, char *value)
{
    if (strcmp(key, "public_key") == 0) {
        struct wireguard_device_peer *peer = wireguard_device_add_peer(device);
        return peer != NULL && wireguard_key_parse_hex(value, &peer->public_key) ? 0 : -1;
    }
    if (device->peer_count > 0) {
        return parse_peer_line(&device->peers[device->peer_count - 1], key, value);
    }
    if (strcmp(key, "private_key") == 0) {
        return wireguard_key_parse_hex(value, &device->private_key) ? 0 : -1;
    }
    if (strcmp(key, "listen_port") == 0) {
        device->listen_port = (uint16_t)strtoul(value, NULL, 10);
    } else if (strcmp(key, "fwmark") == 0) {
        device->fwmark = (uint32_t)strtoul(value, NULL, 0);
    }
    return 0;
}

int wireguard_uapi_parse(char *answer, struct wireguard_device *ret, struct error *err)
{
    char *saved = NULL;
    for (char *line = strtok_r(answer, "\n", &saved); line != NULL; line = strtok_r(NULL, "\n", &saved)) {
        char *equals = strchr(line, '=');
        if (equals == NULL) {
            return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "a line without \"=\"");
        }
        *equals = '\0';
        if (strcmp(line, "errno") == 0) {
            const long errnum = labs(strtol(equals + 1, NULL, 10) % INT_MAX); /* negative ones are seen */
            return errnum == 0 ? 0 : error_sys(err, ERR_WIREGUARD_SETUP_FAILED, (int)errnum, "it was refused");
        }
        if (parse_line(ret, line, equals + 1) != 0) {
            return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "\"%.40s\" can't be understood", line);
        }
    }
    return error_set(err, ERR_WIREGUARD_SETUP_FAILED, "the answer has no end");
}

static int connect_to(const char *interface, struct error *err)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[WIREGUARD_SOCKET_MAX];
    wireguard_uapi_path(interface, path);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)error_sys(err, ERR_WIREGUARD_SETUP_FAILED, errno, "cannot reach %s", path);
        return -1;
    }
    return TAKE_FD(fd);
}

static int send_all(int fd, const struct strbuf *request, struct error *err)
{
    for (size_t sent = 0; sent < request->len;) {
        ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return error_sys(err, ERR_WIREGUARD_SETUP_FAILED, errno, "cannot ask");
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool is_complete(const struct strbuf *answer)
{
    return answer->len >= 2 && memcmp(answer->data + answer->len - 2, "\n\n", 2) == 0;
}

static int receive_all(int fd, struct strbuf *answer, struct error *err)
{
    char bytes[4096];
    while (!is_complete(answer)) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || answer->len > ANSWER_MAX) {
            return error_sys(err, ERR_WIREGUARD_SETUP_FAILED, n < 0 ? errno : EPROTO, "no whole answer");
        }
        strbuf_add_bytes(answer, bytes, (size_t)n);
        explicit_bzero(bytes, (size_t)n);
        if (answer->failed) {
            return error_oom(err);
        }
    }
    return 0;
}

static int talk(const char *interface, const struct strbuf *request, struct wireguard_device *ret, struct error *err)
{
    AUTO_SECRET answer = STRBUF_INIT;
    AUTO_CLOSE int fd = request->failed ? -1 : connect_to(interface, err);
    if (fd < 0) {
        return request->failed ? error_oom(err) : -1;
    }
    if (send_all(fd, request, err) != 0 || receive_all(fd, &answer, err) != 0 || wireguard_uapi_parse(answer.data, ret, err) != 0) {
        return error_prefix(err, "tunnel %s", interface);
    }
    return 0;
}

int wireguard_uapi_get(const char *interface, struct wireguard_device *ret, struct error *err)
{
    AUTO_SECRET request = STRBUF_INIT;
    strbuf_add(&request, "get=1\n\n");
    return talk(interface, &request, ret, err);
}

int wireguard_uapi_set(const char *interface, const struct wireguard_change *change, struct error *err)
{
    AUTO_SECRET request = STRBUF_INIT;
    AUTO_WIREGUARD_DEVICE nothing = {.peers = NULL};
    wireguard_uapi_request(change, &request);
    return talk(interface, &request, &nothing, err);
}
