/* What is common to both back ends: the difference between a device as it is and as it is wanted. */
#include "host/tunnel/wireguard.h"

#include "core/array.h"

#include "host/link/link.h"
#include "host/tunnel/wireguard_backends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void wireguard_device_free(struct wireguard_device *device)
{
    for (size_t i = 0; i < device->peer_count; i++) {
        free(device->peers[i].allowed);
        explicit_bzero(&device->peers[i], sizeof device->peers[i]);
    }
    free(device->peers);
    explicit_bzero(device, sizeof *device);
}

struct wireguard_device_peer *wireguard_device_add_peer(struct wireguard_device *device)
{
    size_t count = device->peer_count;
    struct wireguard_device_peer *peers = array_grow(device->peers, count, sizeof *peers);
    if (peers == NULL) {
        return NULL;
    }
    device->peers = peers;
    device->peer_count++;
    memset(&peers[count], 0, sizeof peers[count]);
    return &peers[count];
}

int wireguard_device_add_allowed(struct wireguard_device_peer *peer, const struct ip_net *net)
{
    struct ip_net *allowed = array_grow(peer->allowed, peer->allowed_count, sizeof *allowed);
    if (allowed == NULL) {
        return -1;
    }
    peer->allowed = allowed;
    allowed[peer->allowed_count++] = *net;
    return 0;
}

bool wireguard_handshake_time(uint64_t seconds, uint64_t nanoseconds, int64_t *ret_ms)
{
    if (seconds > INT64_MAX / 1000 - 1 || nanoseconds >= 1000000000) {
        return false;
    }
    *ret_ms = (int64_t)(seconds * 1000 + nanoseconds / 1000000);
    return true;
}

static int compare_peers(const void *a, const void *b)
{
    return memcmp(((const struct wireguard_device_peer *)a)->public_key.bytes, ((const struct wireguard_device_peer *)b)->public_key.bytes,
                  WIREGUARD_KEY_BYTES);
}

void wireguard_device_sort(struct wireguard_device *device)
{
    if (device->peer_count > 0) {
        qsort(device->peers, device->peer_count, sizeof *device->peers, compare_peers);
    }
    for (size_t i = 0; i < device->peer_count; i++) {
        struct wireguard_device_peer *peer = &device->peers[i];
        if (peer->allowed_count > 0) {
            qsort(peer->allowed, peer->allowed_count, sizeof *peer->allowed, wireguard_compare_nets);
        }
    }
}

static bool same_endpoint(const struct wireguard_endpoint *a, const struct wireguard_endpoint *b)
{
    return ip_addr_equal(&a->address, &b->address) && a->port == b->port;
}

static bool same_allowed(const struct wireguard_device_peer *a, const struct wireguard_device_peer *b)
{
    if (a->allowed_count != b->allowed_count) {
        return false;
    }
    for (size_t i = 0; i < a->allowed_count; i++) {
        if (wireguard_compare_nets(&a->allowed[i], &b->allowed[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* `seen` is NULL for a new peer. */
static bool diff_peer(const struct wireguard_device_peer *seen, const struct wireguard_device_peer *wanted, struct wireguard_peer_change *ret)
{
    bool has_endpoint = wanted->endpoint.address.version != IP_NONE;
    *ret = (struct wireguard_peer_change){.peer = wanted, .is_new = seen == NULL, .allowed = seen == NULL, .endpoint = has_endpoint && seen == NULL};
    if (seen == NULL) {
        ret->preshared_key = !wireguard_key_is_zero(&wanted->preshared_key);
        ret->keepalive = wanted->keepalive != 0;
        return true;
    }
    ret->preshared_key = !wireguard_key_equal(&seen->preshared_key, &wanted->preshared_key);
    ret->keepalive = seen->keepalive != wanted->keepalive;
    ret->allowed = !same_allowed(seen, wanted);
    ret->endpoint = has_endpoint && (seen->endpoint.address.version == IP_NONE || (wanted->endpoint_due && !same_endpoint(&seen->endpoint, &wanted->endpoint)));
    return ret->preshared_key || ret->keepalive || ret->allowed || ret->endpoint;
}

/* Both lists are sorted. Removals first, so that what a peer leaves can be another's. */
static void diff_peers(const struct wireguard_device *seen, const struct wireguard_device *wanted, struct wireguard_change *ret)
{
    size_t w = 0;
    for (size_t s = 0; s < seen->peer_count; s++) {
        while (w < wanted->peer_count && compare_peers(&wanted->peers[w], &seen->peers[s]) < 0) {
            w++;
        }
        if (w == wanted->peer_count || compare_peers(&wanted->peers[w], &seen->peers[s]) != 0) {
            ret->peers[ret->peer_count++] = (struct wireguard_peer_change){.peer = &seen->peers[s], .is_removed = true};
        }
    }
    size_t s = 0;
    for (w = 0; w < wanted->peer_count; w++) {
        while (s < seen->peer_count && compare_peers(&seen->peers[s], &wanted->peers[w]) < 0) {
            s++;
        }
        bool is_there = s < seen->peer_count && compare_peers(&seen->peers[s], &wanted->peers[w]) == 0;
        if (diff_peer(is_there ? &seen->peers[s] : NULL, &wanted->peers[w], &ret->peers[ret->peer_count])) {
            ret->peer_count++;
        }
    }
}

int wireguard_diff(const struct wireguard_device *seen, const struct wireguard_device *wanted, struct wireguard_change *ret, struct error *err)
{
    *ret = (struct wireguard_change){.wanted = wanted,
                                     .private_key = !wireguard_key_equal(&seen->private_key, &wanted->private_key),
                                     .listen_port = wanted->listen_port != 0 && seen->listen_port != wanted->listen_port,
                                     .fwmark = seen->fwmark != wanted->fwmark};
    ret->peers = calloc(seen->peer_count + wanted->peer_count + 1, sizeof *ret->peers);
    if (ret->peers == NULL) {
        return error_oom(err);
    }
    diff_peers(seen, wanted, ret);
    return 0;
}

void wireguard_change_free(struct wireguard_change *change)
{
    free(change->peers);
    *change = (struct wireguard_change){.peers = NULL};
}

bool wireguard_change_is_empty(const struct wireguard_change *change)
{
    return !change->private_key && !change->listen_port && !change->fwmark && change->peer_count == 0;
}

void wireguard_change_describe(const struct wireguard_change *change, char *buf, size_t size)
{
    char peers[48] = "";
    if (change->peer_count > 0) {
        (void)snprintf(peers, sizeof peers, "%zu peer%s", change->peer_count, change->peer_count == 1 ? "" : "s");
    }
    (void)snprintf(buf, size, "other than wanted: %s%s%s%s", change->private_key ? "private key " : "", change->listen_port ? "listening port " : "",
                   change->fwmark ? "mark " : "", peers);
}

static const struct {
    const char *name;
    int (*get)(const char *interface, struct wireguard_device *ret, struct error *err);
    int (*set)(const char *interface, const struct wireguard_change *change, struct error *err);
} backends[WIREGUARD_BACKEND_COUNT_] = {
    [WIREGUARD_KERNEL] = {"kernel", wireguard_kernel_get, wireguard_kernel_set},
    [WIREGUARD_USERSPACE] = {"userspace", wireguard_uapi_get, wireguard_uapi_set},
};

const char *wireguard_backend_name(enum wireguard_backend backend)
{
    return backends[backend].name;
}

int wireguard_find_backend(const char *name, enum wireguard_backend *ret, bool *ret_found, struct error *err)
{
    char path[WIREGUARD_SOCKET_MAX];
    struct link_info link;
    struct stat st;
    bool found = false;
    if (link_get(name, &link, &found, err) != 0) {
        return -1;
    }
    wireguard_uapi_path(name, path);
    *ret = strcmp(link.kind, "wireguard") == 0 ? WIREGUARD_KERNEL : WIREGUARD_USERSPACE;
    *ret_found = found && (*ret == WIREGUARD_KERNEL || (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)));
    return 0;
}

int wireguard_get(enum wireguard_backend backend, const char *name, struct wireguard_device *ret, struct error *err)
{
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    if (backends[backend].get(name, &device, err) != 0) {
        return -1;
    }
    wireguard_device_sort(&device);
    *ret = device;
    device = (struct wireguard_device){.peers = NULL};
    return 0;
}

int wireguard_set(enum wireguard_backend backend, const char *name, const struct wireguard_change *change, struct error *err)
{
    return wireguard_change_is_empty(change) ? 0 : backends[backend].set(name, change, err);
}
