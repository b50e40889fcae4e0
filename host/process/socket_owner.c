#include "host/process/socket_owner.h"

#include "core/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_name(int process, char buf[SOCKET_OWNER_NAME_MAX])
{
    AUTO_CLOSE int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, buf, SOCKET_OWNER_NAME_MAX - 1);
    buf[len > 0 ? len : 0] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    for (char *p = buf; *p != '\0'; p++) {
        *p = *p < ' ' || *p > '~' ? '?' : *p;
    }
}

/* The inode of "socket:[4711]"; 0 when it is something else. */
static uint32_t inode_of(int descriptors, const char *name)
{
    char target[64];
    unsigned inode = 0;
    ssize_t len = readlinkat(descriptors, name, target, sizeof target - 1);
    target[len > 0 ? len : 0] = '\0';
    return sscanf(target, "socket:[%u]", &inode) == 1 ? inode : 0;
}

/* Returns how many are still without an owner. */
static size_t look_at_process(int proc, const char *pid, struct socket_owner *owners, size_t count)
{
    AUTO_CLOSE int process = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = process < 0 ? -1 : openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t left = 0;
    for (const struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL; entry = readdir(dir)) {
        const uint32_t inode = entry->d_name[0] != '.' ? inode_of(dirfd(dir), entry->d_name) : 0;
        for (size_t i = 0; i < count && inode != 0; i++) {
            if (owners[i].inode == inode && owners[i].pid == 0) {
                owners[i].pid = (pid_t)strtol(pid, NULL, 10);
                read_name(process, owners[i].name);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        left += owners[i].inode != 0 && owners[i].pid == 0;
    }
    return left;
}

void socket_owners_find(struct socket_owner *owners, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        owners[i].pid = 0;
        owners[i].name[0] = '\0';
        left += owners[i].inode != 0;
    }
    AUTO_CLOSEDIR DIR *proc = left > 0 ? opendir("/proc") : NULL;
    for (const struct dirent *entry = proc != NULL ? readdir(proc) : NULL; entry != NULL && left > 0; entry = readdir(proc)) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
            left = look_at_process(dirfd(proc), entry->d_name, owners, count);
        }
    }
}
