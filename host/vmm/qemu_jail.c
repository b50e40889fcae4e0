/*
 * QEMU's jail, which it is born into: it never runs as root, and never with another root directory. It needs its libraries, its firmware and its device nodes, so /usr is
 * bound read-only, with the links to it (/lib64, …), and what comes from elsewhere. A QEMU that lies outside of /usr is bound with the directory that it is
 * installed in, that of `bin`: its firmware is found from there.
 */
#include "host/vmm/qemu.h"

#include "core/cleanup.h"
#include "host/vmm/common.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    JAIL_INODES = 256, /* it needs about 25 */
    JAIL_BYTES = 4 << 20,
    FILE_BYTES = 1 << 20, /* that it may write besides its drives */
};

static const char *const system_names[] = {"usr", "lib", "lib64", "lib32", "libx32", "bin", "sbin", "etc/ld.so.cache", "etc/alternatives"};

/* As they are on the host: directories, or links into /usr. What is not there is not needed. */
static int add_system(struct jail *jail, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(system_names); i++) {
        char path[64];
        char target[PATH_MAX];
        struct stat st;
        (void)snprintf(path, sizeof path, "/%s", system_names[i]);
        if (lstat(path, &st) != 0) {
            continue;
        }
        ssize_t len = S_ISLNK(st.st_mode) ? readlink(path, target, sizeof target - 1) : 0;
        target[len > 0 ? len : 0] = '\0';
        if ((len > 0 ? jail_add_link(jail, system_names[i], target, err) : jail_add_bind(jail, system_names[i], path, JAIL_EXECUTE, err)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* By its path: /sbin/… is there when /sbin is, be it a directory or a link. */
static bool is_added(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(system_names); i++) {
        const size_t len = strlen(system_names[i]);
        if (strncmp(path + 1, system_names[i], len) == 0 && path[1 + len] == '/') {
            return true;
        }
    }
    return false;
}

static int add_program(const struct vmm_spec *spec, struct jail *jail, struct error *err)
{
    char dir[JAIL_PATH_MAX];
    if (is_added(spec->binary)) {
        return 0;
    }
    if (snprintf(dir, sizeof dir, "%s", spec->binary) >= JAIL_PATH_MAX) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "%s is too long a path for a jail", spec->binary);
    }
    *strrchr(dir, '/') = '\0';
    char *last = strrchr(dir, '/');
    if (last != NULL && last != dir && strcmp(last, "/bin") == 0) {
        *last = '\0';
    }
    if (dir[0] == '\0') {
        return error_set(err, ERR_VMM_UNAVAILABLE, "%s lies in the root directory, which is not bound into a jail", spec->binary);
    }
    return jail_add_bind(jail, dir + 1, dir, JAIL_EXECUTE, err);
}

static int add_devices(const struct vmm_spec *spec, struct jail *jail, struct error *err)
{
    const uid_t uid = spec->jail->uid;
    struct stat kvm;
    if (spec->accel == VMM_ACCEL_KVM) {
        if (stat("/dev/kvm", &kvm) != 0) {
            return error_sys(err, ERR_VMM_UNAVAILABLE, errno, "/dev/kvm is not there");
        }
        if (jail_add_device(jail, "dev/kvm", kvm.st_rdev, 0600, uid, err) != 0) {
            return -1;
        }
    }
    if (jail_add_device(jail, "dev/null", makedev(1, 3), 0666, 0, err) != 0 || jail_add_device(jail, "dev/urandom", makedev(1, 9), 0444, 0, err) != 0) {
        return -1;
    }
    return spec->interface_count == 0 ? 0 : jail_add_device(jail, "dev/net/tun", makedev(10, 200), 0600, uid, err);
}

int qemu_jail(const struct vmm_spec *spec, struct jail *ret, struct error *err)
{
    AUTO_JAIL jail = JAIL_NONE;
    if (jail_open(JAIL_BYTES, JAIL_INODES, &jail, err) != 0 || vmm_jail_files(spec, "", FILE_BYTES, &jail, err) != 0 || add_system(&jail, err) != 0 ||
        add_program(spec, &jail, err) != 0 || add_devices(spec, &jail, err) != 0 || jail_give(&jail, ".", spec->jail->uid, err) != 0) {
        return -1;
    }
    jail.uid = spec->jail->uid;
    *ret = jail;
    jail = JAIL_NONE;
    return 0;
}
