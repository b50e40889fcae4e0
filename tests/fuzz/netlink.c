/* The kernel's news of links, routes and the firewall, as one datagram each. */
#include "core/cleanup.h"
#include "host/link/link.h"
#include "host/nft/nft.h"

#include <stdlib.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void changed(const char *name, void *ctx)
{
    (void)name;
    ++*(int *)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    int count = 0;
    bool flag = false;
    for (int i = 0; i < 2; i++) {
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
            abort();
        }
        (void)send(fds[0], data, size, MSG_DONTWAIT);
        if (i == 0) {
            (void)link_monitor_drain(fds[1], "svbr0t", changed, &count, &flag, NULL);
        } else {
            (void)nft_monitor_drain(fds[1], "smartvm", &flag, &flag, NULL);
        }
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    return 0;
}
