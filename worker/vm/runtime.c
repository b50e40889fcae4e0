#include "worker/vm/runtime.h"

#include "core/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { BUCKETS = 1024 };

struct runtimes {
    pthread_mutex_t lock;
    struct runtime *buckets[BUCKETS]; /* by number */
    struct runtime *names[BUCKETS];   /* by id */
};

int runtimes_new(struct runtimes **ret, struct error *err)
{
    struct runtimes *runtimes = calloc(1, sizeof *runtimes);
    if (runtimes == NULL) {
        return error_oom(err);
    }
    (void)pthread_mutex_init(&runtimes->lock, NULL);
    *ret = runtimes;
    return 0;
}

static void runtime_free(struct runtime *runtime)
{
    runtime_clear_process(runtime);
    vm_boot_free(&runtime->boot);
    free(runtime->timings);
    free(runtime);
}

void runtimes_free(struct runtimes *runtimes)
{
    if (runtimes == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        struct runtime *runtime = runtimes->buckets[i];
        while (runtime != NULL) {
            struct runtime *next = runtime->next;
            runtime_free(runtime);
            runtime = next;
        }
    }
    (void)pthread_mutex_destroy(&runtimes->lock);
    free(runtimes);
}

static struct runtime **find_runtime(struct runtimes *runtimes, int64_t uid)
{
    struct runtime **p = &runtimes->buckets[(uint64_t)uid % BUCKETS];
    while (*p != NULL && (*p)->uid != uid) {
        p = &(*p)->next;
    }
    return p;
}

static struct runtime **find_name(struct runtimes *runtimes, const char *id)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (const char *c = id; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    }
    struct runtime **p = &runtimes->names[hash % BUCKETS];
    while (*p != NULL && strcmp((*p)->id, id) != 0) {
        p = &(*p)->next_name;
    }
    return p;
}

static struct runtime *make(int64_t uid, const char *id)
{
    struct runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime != NULL) {
        runtime->uid = uid;
        runtime->pidfd = -1;
        runtime->guest_fd = -1;
        runtime->shim = SHIM_NONE;
        runtime->shutdown_sent_ms = -1;
        (void)snprintf(runtime->id, sizeof runtime->id, "%s", id);
    }
    return runtime;
}

/* With the lock held. */
static struct runtime *get(struct runtimes *runtimes, int64_t uid, const char *id, char ret_other[64], struct error *err)
{
    struct runtime **by_number = find_runtime(runtimes, uid);
    struct runtime **by_name = find_name(runtimes, id);
    if (*by_number == NULL && *by_name == NULL) {
        struct runtime *made = make(uid, id);
        if (made == NULL) {
            (void)error_oom(err);
            return NULL;
        }
        *by_number = *by_name = made;
    }
    if (*by_number != *by_name) {
        const struct runtime *other = *by_number != NULL ? *by_number : *by_name;
        (void)snprintf(ret_other, 64, "%s", other->id);
        (void)error_set(err, ERR_ROW_DAMAGED, "vm.uid is not its own: it is known that the VM '%s' has number %lld", other->id, (long long)other->uid);
        return NULL;
    }
    return *by_number;
}

struct runtime *runtimes_get(struct runtimes *runtimes, int64_t uid, const char *id, char ret_other[64], struct error *err)
{
    ret_other[0] = '\0';
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = get(runtimes, uid, id, ret_other, err);
    (void)pthread_mutex_unlock(&runtimes->lock);
    return runtime;
}

struct runtime *runtimes_of_id(struct runtimes *runtimes, const char *id)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find_name(runtimes, id);
    (void)pthread_mutex_unlock(&runtimes->lock);
    return runtime;
}

void runtimes_remove(struct runtimes *runtimes, int64_t uid)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime **p = find_runtime(runtimes, uid);
    struct runtime *runtime = *p;
    if (runtime != NULL) {
        *find_name(runtimes, runtime->id) = runtime->next_name;
        *p = runtime->next;
        runtime_free(runtime);
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
}

void runtimes_each_id(struct runtimes *runtimes, void (*each)(const char *id, void *ctx), void *ctx)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct runtime *runtime = runtimes->buckets[i]; runtime != NULL; runtime = runtime->next) {
            each(runtime->id, ctx);
        }
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
}

enum runtime_guests runtimes_guests(struct runtimes *runtimes, int64_t uid)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find_runtime(runtimes, uid);
    enum runtime_guests guests = runtime != NULL ? atomic_load(&runtime->guests) : RUNTIME_GUESTS_UNKNOWN;
    (void)pthread_mutex_unlock(&runtimes->lock);
    return guests;
}

/* One that can't be copied for want of memory is not known, and read anew. */
static void copy_boot(const struct vm_boot *boot, struct vm_boot *ret)
{
    *ret = *boot;
    ret->network = boot->network != NULL ? strdup(boot->network) : NULL;
    ret->config = boot->config != NULL ? strdup(boot->config) : NULL;
    if ((boot->network != NULL && ret->network == NULL) || (boot->config != NULL && ret->config == NULL)) {
        vm_boot_free(ret);
    }
}

void runtimes_copy(struct runtimes *runtimes, int64_t uid, struct runtime *ret)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    const struct runtime *runtime = *find_runtime(runtimes, uid);
    if (runtime != NULL) {
        *ret = *runtime;
        copy_boot(&runtime->boot, &ret->boot);
    } else {
        *ret = (struct runtime){.uid = uid, .pidfd = -1, .guest_fd = -1, .shim = SHIM_NONE, .shutdown_sent_ms = -1, .observed = true};
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
}

void runtimes_set_boot(struct runtimes *runtimes, struct runtime *runtime, struct vm_boot *boot)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    vm_boot_free(&runtime->boot);
    runtime->boot = *boot;
    (void)pthread_mutex_unlock(&runtimes->lock);
    *boot = (struct vm_boot){.is_known = false};
}

bool runtimes_id(struct runtimes *runtimes, int64_t uid, char ret[64])
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find_runtime(runtimes, uid);
    if (runtime != NULL) {
        (void)snprintf(ret, 64, "%s", runtime->id);
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
    return runtime != NULL;
}

int runtime_set_process(struct worker *worker, struct runtime *runtime, const struct process *process, struct error *err)
{
    runtime_clear_process(runtime);
    runtime->pidfd = process->pidfd;
    runtime->pid = process->pid;
    runtime->start_time = process->start_time;
    runtime->exit_known = false;
    runtime->shutdown_sent_ms = -1;
    runtime->answered = false;
    runtime->silent = false;
    runtime->start_told = false;
    runtime->guest_gone = false;
    runtime->idle_since_ms = 0;
    runtime->kill_sent = false;
    runtime->forced = false;
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = EPOLL_DATA(EPOLL_TAG_VMM, runtime->uid)};
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, process->pidfd, &event) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the process of VM %s could not be watched", runtime->id);
    }
    return 0;
}

void runtime_clear_process(struct runtime *runtime)
{
    shim_close(&runtime->shim, runtime->pidfd >= 0 && !process_is_alive(runtime->pidfd));
    if (runtime->pidfd >= 0) {
        (void)close(runtime->pidfd); /* leaves the epoll by itself, at the latest when no child holds a copy any more; it tells once */
        runtime->pidfd = -1;
    }
    if (runtime->guest_fd >= 0) {
        (void)close(runtime->guest_fd);
        runtime->guest_fd = -1;
    }
    runtime->pid = 0;
    runtime->start_time = 0;
}

bool runtime_watch_guest(struct worker *worker, struct runtime *runtime, pid_t vcpu)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = EPOLL_DATA(EPOLL_TAG_VMM, runtime->uid)};
    if (runtime->guest_fd >= 0) {
        return true;
    }
    AUTO_CLOSE int fd = process_watch_thread(runtime->pid, vcpu);
    if (fd < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return false;
    }
    runtime->guest_fd = TAKE_FD(fd);
    return true;
}

void runtime_add_timing(struct runtime *runtime, const char *operation, const char *target, int64_t begin_us, int64_t end_us)
{
    if (runtime->timings == NULL) {
        runtime->timings = calloc(RUNTIME_TIMINGS_MAX, sizeof *runtime->timings);
    }
    if (runtime->timings == NULL || runtime->timing_count == RUNTIME_TIMINGS_MAX) {
        return;
    }
    struct runtime_timing *timing = &runtime->timings[runtime->timing_count++];
    timing->operation = operation;
    (void)snprintf(timing->target, sizeof timing->target, "%s", target);
    timing->at_us = begin_us - runtime->start_us;
    timing->duration_us = end_us - begin_us;
}
