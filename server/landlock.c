#include "server/landlock.h"

#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By the version of the ABI, include/uapi/linux/landlock.h: what it can forbid. Headers may be older than the kernel. */
static const struct rights {
    int abi;
    uint64_t file_system, network;
} versions[] = {
    {1, (1ULL << 13) - 1, 0}, {2, (1ULL << 14) - 1, 0}, /* and linking between directories */
    {3, (1ULL << 15) - 1, 0},                           /* and truncating */
    {4, (1ULL << 15) - 1, 3},                           /* and TCP: to bind and to connect */
    {5, (1ULL << 16) - 1, 3},                           /* and the ioctls of devices */
};

/* struct landlock_ruleset_attr of version 4; older kernels take the larger one where what they don't know is 0. */
struct ruleset {
    uint64_t file_system, network;
};

bool landlock_close(void)
{
    struct ruleset ruleset = {0, 0};
    const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0UL, LANDLOCK_CREATE_RULESET_VERSION);
    for (unsigned i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (versions[i].abi <= abi) {
            ruleset = (struct ruleset){versions[i].file_system, versions[i].network};
        }
    }
    if (abi < 1) {
        return false;
    }
    const int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0U);
    if (fd < 0) {
        return false;
    }
    const bool closed = syscall(SYS_landlock_restrict_self, fd, 0U) == 0;
    (void)close(fd);
    return closed;
}
