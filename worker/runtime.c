#include "worker/runtime.h"

#include "core/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>

enum { BUCKETS = 1024 };

struct runtimes {
    pthread_mutex_t lock;
    struct runtime *buckets[BUCKETS];
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

static struct runtime **find(struct runtimes *runtimes, int64_t uid)
{
    struct runtime **p = &runtimes->buckets[(uint64_t)uid % BUCKETS];
    while (*p != NULL && (*p)->uid != uid) {
        p = &(*p)->next;
    }
    return p;
}

struct runtime *runtimes_get(struct runtimes *runtimes, int64_t uid, const char *id)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime **p = find(runtimes, uid);
    if (*p == NULL) {
        *p = calloc(1, sizeof **p);
        if (*p != NULL) {
            (*p)->uid = uid;
            (*p)->pidfd = -1;
            (*p)->guest_fd = -1;
            (*p)->exit_status = -1;
            (*p)->shutdown_sent_ms = -1;
            (void)snprintf((*p)->id, sizeof(*p)->id, "%s", id);
        }
    }
    struct runtime *runtime = *p;
    (void)pthread_mutex_unlock(&runtimes->lock);
    return runtime;
}

void runtimes_remove(struct runtimes *runtimes, int64_t uid)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime **p = find(runtimes, uid);
    struct runtime *runtime = *p;
    if (runtime != NULL) {
        *p = runtime->next;
        runtime_free(runtime);
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
}

enum runtime_guests runtimes_guests(struct runtimes *runtimes, int64_t uid)
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find(runtimes, uid);
    enum runtime_guests guests = runtime != NULL ? atomic_load(&runtime->guests) : RUNTIME_GUESTS_UNKNOWN;
    (void)pthread_mutex_unlock(&runtimes->lock);
    return guests;
}

void runtimes_drift(struct runtimes *runtimes, int64_t uid, struct runtime_drift *ret)
{
    *ret = (struct runtime_drift){.repair_due_ms = 0};
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find(runtimes, uid);
    if (runtime != NULL) {
        ret->repair_due_ms = atomic_load(&runtime->repair_due_ms);
        for (size_t i = 0; i < LIMIT_INTERFACES; i++) {
            ret->tap_index[i] = atomic_load(&runtime->tap_index[i]);
        }
    }
    (void)pthread_mutex_unlock(&runtimes->lock);
}

bool runtimes_id(struct runtimes *runtimes, int64_t uid, char ret[64])
{
    (void)pthread_mutex_lock(&runtimes->lock);
    struct runtime *runtime = *find(runtimes, uid);
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
    runtime->exit_status = -1;
    runtime->shutdown_sent_ms = -1;
    runtime->answered = false;
    runtime->silent = false;
    runtime->guest_gone = false;
    runtime->kill_sent = false;
    runtime->forced = false;
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
                                .data.u64 = EPOLL_DATA(EPOLL_TAG_VMM, runtime->uid)};
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, process->pidfd, &event) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the process of VM %s could not be watched", runtime->id);
    }
    return 0;
}

void runtime_clear_process(struct runtime *runtime)
{
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
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
                                .data.u64 = EPOLL_DATA(EPOLL_TAG_VMM, runtime->uid)};
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

void runtime_add_timing(struct runtime *runtime, const char *operation, const char *target, int64_t begin_us,
                        int64_t end_us)
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
