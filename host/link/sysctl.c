#include "host/link/sysctl.h"

#include "core/cleanup.h"
#include "core/net_addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SYSCTL_PATH_MAX = 96 };

/* A name becomes one component of a path; "all" and "default" are names here, too. */
static int make_path_in(char ret[SYSCTL_PATH_MAX], const char *family, const char *directory, const char *interface, const char *item, struct error *err)
{
    size_t len = strlen(interface);
    if (len == 0 || len >= INTERFACE_NAME_MAX || strchr(interface, '/') != NULL || strcmp(interface, ".") == 0 || strcmp(interface, "..") == 0) {
        return error_sys(err, ERR_SYSTEM, EINVAL, "'%.32s' is no interface name", interface);
    }
    (void)snprintf(ret, SYSCTL_PATH_MAX, "/proc/sys/net/%s/%s/%s/%s", family, directory, interface, item);
    return 0;
}

static int make_path(char ret[SYSCTL_PATH_MAX], const char *family, const char *interface, const char *item, struct error *err)
{
    return make_path_in(ret, family, "conf", interface, item, err);
}

static int write_switch(const char *path, bool on, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, on ? "1" : "0", 1) != 1) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot write %s", path);
    }
    return 0;
}

int sysctl_forwarding_get(const char *interface, bool *ret, struct error *err)
{
    char path[SYSCTL_PATH_MAX];
    char value = '0';
    if (make_path(path, "ipv4", interface, "forwarding", err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &value, 1) != 1) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
    }
    *ret = value != '0';
    return 0;
}

int sysctl_forwarding_set(const char *interface, bool on, struct error *err)
{
    char path[SYSCTL_PATH_MAX];
    if (make_path(path, "ipv4", interface, "forwarding", err) != 0) {
        return -1;
    }
    return write_switch(path, on, err);
}

int sysctl_number_get(const char *family, const char *directory, const char *interface, const char *item, int *ret, struct error *err)
{
    char path[SYSCTL_PATH_MAX];
    char text[16] = {0};
    if (make_path_in(path, family, directory, interface, item, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 1) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read %s", path);
    }
    *ret = (int)strtol(text, NULL, 10);
    return 0;
}

int sysctl_number_set(const char *family, const char *directory, const char *interface, const char *item, int value, struct error *err)
{
    char path[SYSCTL_PATH_MAX];
    char text[16];
    if (make_path_in(path, family, directory, interface, item, err) != 0) {
        return -1;
    }
    int len = snprintf(text, sizeof text, "%d", value);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot write %s", path);
    }
    return 0;
}
