#include "worker/news.h"

#include "core/cleanup.h"
#include "worker/border/wanted.h"
#include "host/link/link.h"
#include "host/nft/nft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    NETWORK_FOLD_MS = 20,
    LINK_FOLD_MS = 100,   /* of others: a host of containers has news of them all the time */
    OTHERS_FOLD_MS = 500, /* rules of others decide about a message only, and some hosts change theirs all the time */
    NFT_FOLD_MS = 1,      /* one transaction is told in one go, and until the repair nothing holds the guests back */
    TAP_FOLD_MS = 50,
    CONTESTED_FOLD_MS = 250,
};

/* Who makes changes faster than this while repairs are held off gets no more of the processor by it. */
static int64_t fold_ms(const struct worker *worker, int64_t usual_ms)
{
    bool contested = atomic_load(&worker->contested) || atomic_load(&worker->contested_vms) > 0;
    return contested ? CONTESTED_FOLD_MS : usual_ms;
}

/* The tunnel's routes and rules are told of with all others. */
static void wake_network(struct worker *worker)
{
    int64_t delay_ms = fold_ms(worker, NETWORK_FOLD_MS);
    (void)queue_add_after(worker->queue, "network", delay_ms);
    if (atomic_load(&worker->wireguard_active)) {
        (void)queue_add_after(worker->queue, "wireguard", delay_ms);
    }
}

/* Do guests leave by it? */
static bool is_way_out(struct worker *worker, const char *name)
{
    (void)pthread_mutex_lock(&worker->network.lock);
    const struct network_memory *memory = &worker->network.memory;
    bool is = strcmp(memory->egress.tunnel, name) == 0 || interface_names_have(&memory->uplinks, name);
    (void)pthread_mutex_unlock(&worker->network.lock);
    return is;
}

/* A TAP was changed, by us or by someone else: its VM is looked at when the dust has settled. Whose it is, the queue's key "tap/…" finds out. */
static void on_tap(struct worker *worker, const char *name)
{
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "tap/%s", name);
    (void)queue_add_after(worker->queue, key, fold_ms(worker, TAP_FOLD_MS));
}

int news_of_tap(struct worker *worker, const char *name, struct error *err)
{
    char id[LIMIT_VM_ID_BYTES + 1];
    char key[QUEUE_KEY_MAX];
    bool found = false;
    if (border_tap_owner(worker->border, name, id, &found, err) != 0) {
        return -1; /* and the queue tries it again */
    }
    if (found) {
        (void)snprintf(key, sizeof key, "vm/%s", id);
        (void)queue_add(worker->queue, key);
    }
    return 0;
}

static void on_link(const char *name, void *ctx)
{
    struct worker *worker = ctx;
    struct network_settings settings = worker_network(worker);
    if (name == NULL) {
        (void)queue_add(worker->queue, QUEUE_EVERYTHING); /* news were lost: it may have been any TAP */
    } else if (strcmp(name, settings.bridge) == 0 || strcmp(name, settings.uplink) == 0 || is_way_out(worker, name)) {
        wake_network(worker);
    } else if (strncmp(name, settings.tap_prefix, strlen(settings.tap_prefix)) == 0) {
        on_tap(worker, name);
    } else {
        /* With a link that goes down go its routes, and the kernel tells of those no more than that. */
        (void)queue_add_after(worker->queue, "network", fold_ms(worker, LINK_FOLD_MS));
    }
}

void news_on_links(struct worker *worker, const struct news *news)
{
    bool routes = false;
    struct network_settings settings = worker_network(worker);
    if (link_monitor_drain(news->links, settings.tap_prefix, on_link, worker, &routes, NULL) != 0 || routes) {
        wake_network(worker);
    }
}

void news_on_nft(struct worker *worker, const struct news *news)
{
    bool concerned = false;
    bool others = false;
    if (nft_monitor_drain(news->nft, worker->mark, &concerned, &others, NULL) != 0 || concerned) {
        (void)queue_add_after(worker->queue, "network", fold_ms(worker, NFT_FOLD_MS));
    } else if (others) {
        (void)queue_add_after(worker->queue, "network", OTHERS_FOLD_MS);
    }
}

void news_on_sweep(struct worker *worker, const struct news *news)
{
    uint64_t times = 0;
    if (read(news->sweep, &times, sizeof times) == (ssize_t)sizeof times) {
        (void)queue_add(worker->queue, QUEUE_EVERYTHING);
    }
}

static int open_sweep(const struct worker *worker, int *ret, struct error *err)
{
    const struct timespec period = {.tv_sec = worker->config->network.sweep_s};
    const struct itimerspec times = {.it_interval = period, .it_value = period};
    AUTO_CLOSE int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || timerfd_settime(fd, 0, &times, NULL) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the timer of the sweep could not be set");
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int watch(const struct worker *worker, int fd, enum epoll_tag tag, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_DATA(tag, 0)};
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the kernel's news could not be watched");
    }
    return 0;
}

int news_open(struct worker *worker, struct news *ret, struct error *err)
{
    if (link_monitor_open(&ret->links, err) != 0 || nft_monitor_open(&ret->nft, err) != 0 || open_sweep(worker, &ret->sweep, err) != 0 ||
        watch(worker, ret->links, EPOLL_TAG_LINKS, err) != 0 || watch(worker, ret->nft, EPOLL_TAG_NFT, err) != 0 ||
        watch(worker, ret->sweep, EPOLL_TAG_SWEEP, err) != 0) {
        return -1; /* what is open is closed by news_close() */
    }
    return 0;
}

void news_close(struct news *news)
{
    const int fds[] = {news->links, news->nft, news->sweep};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    *news = NEWS_INIT;
}
