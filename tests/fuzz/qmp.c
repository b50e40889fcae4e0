/* What QEMU says on its machine protocol, all of it at once, over a real socket. */
#include "core/cleanup.h"
#include "host/vmm/qmp.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct answer {
    int listener;
    const uint8_t *data;
    size_t size;
};

static void *serve(void *arg)
{
    const struct answer *answer = arg;
    AUTO_CLOSE int fd = accept4(answer->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        (void)send(fd, answer->data, answer->size, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        char ignored[256];
        while (read(fd, ignored, sizeof ignored) > 0) {
        }
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sockaddr_un address = {.sun_family = AF_UNIX};
    static int listener = -1;
    if (listener < 0) {
        (void)snprintf(address.sun_path, sizeof address.sun_path, "/dev/shm/smartvm-fuzz-qmp-%d", (int)getpid());
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)unlink(address.sun_path);
        if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) {
            abort();
        }
    }
    struct answer answer = {listener, data, size};
    pthread_t thread;
    AUTO_JSON *ret = NULL;
    if (pthread_create(&thread, NULL, serve, &answer) != 0) {
        abort();
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        abort();
    }
    (void)qmp_call(fd, address.sun_path, "{\"execute\": \"query-status\"}", 2000, &ret, NULL);
    (void)close(fd); /* which the other one waits for */
    (void)pthread_join(thread, NULL);
    return 0;
}
