#include "core/cleanup.h"
#include "core/ipc.h"
#include "worker/context.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* The API process does not read fast enough: it will be told that anything may have changed, when it does. */
static void note_behind(struct worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = EPOLL_DATA(EPOLL_TAG_API_SOCKET, 0)};
    atomic_store(&worker->api_behind, true);
    (void)epoll_ctl(worker->epoll, EPOLL_CTL_MOD, worker->api_socket, &event);
}

void worker_notify(struct worker *worker, const char *key)
{
    /* What a guest writes is no event. */
    const bool is_event = strncmp(key, "console/", strlen("console/")) != 0;
    const char *const keys[] = {key, "events"};
    for (size_t i = 0; i < (is_event ? 2U : 1U); i++) {
        struct error err = {0};
        if (ipc_send(worker->api_socket, IPC_CHANGED, 0, keys[i], -1, &err) != 0 && err.sys_errno == EAGAIN) {
            note_behind(worker);
            return;
        }
    }
}
