/*
 * The jail that Firecracker's jailer (its docs/jailer.md) finds ready: it makes <place>/<name of the program>/<id>/root, copies the program into it, makes
 * the device nodes, and changes into it. What it does not make is bound in there before.
 */
#include "host/vmm/firecracker.h"

#include "core/cleanup.h"
#include "host/vmm/common.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    JAIL_INODES = 256,    /* it needs about 15 */
    JAIL_BYTES = 4 << 20, /* besides the copy of the program */
    ROOT_PREFIX_MAX = 128,
};

/* The jailer takes the name of the file behind all links. */
static int find_root(const struct vmm_spec *spec, char prefix[ROOT_PREFIX_MAX], uint64_t *ret_bytes, struct error *err)
{
    char program[PATH_MAX];
    struct stat st;
    if (realpath(spec->binary, program) == NULL || stat(program, &st) != 0) {
        return error_sys(err, ERR_VMM_UNAVAILABLE, errno, "%s is not there", spec->binary);
    }
    *ret_bytes = (uint64_t)st.st_size;
    if (snprintf(prefix, ROOT_PREFIX_MAX, "%s/%s/root/", strrchr(program, '/') + 1, spec->id) >= ROOT_PREFIX_MAX) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "the name of %s is too long", program);
    }
    return 0;
}

/* Its configuration is read, and its log opened, by their paths. */
static int bind_own(const struct vmm_spec *spec, const char *prefix, const char *name, enum jail_access access, struct jail *jail, struct error *err)
{
    char path[ROOT_PREFIX_MAX + 32];
    char of[VMM_PATH_MAX];
    const uid_t uid = spec->jail->uid;
    (void)snprintf(path, sizeof path, "%s%s", prefix, name);
    if (snprintf(of, sizeof of, "%s/%s", spec->dir, name) >= VMM_PATH_MAX) {
        return error_set(err, ERR_VMM_FAILED, "%s/%s is too long a path", spec->dir, name);
    }
    if (lchown(of, uid, uid) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot give %s to uid %u", of, (unsigned)uid);
    }
    return jail_add_bind(jail, path, of, access, err);
}

int firecracker_jail(const struct vmm_spec *spec, struct jail *ret, struct error *err)
{
    char prefix[ROOT_PREFIX_MAX];
    uint64_t bytes = 0;
    AUTO_JAIL jail = JAIL_NONE;
    if (find_root(spec, prefix, &bytes, err) != 0 || jail_open(bytes + JAIL_BYTES, JAIL_INODES, &jail, err) != 0 ||
        vmm_jail_files(spec, prefix, bytes, &jail, err) != 0 || bind_own(spec, prefix, "vmm.json", JAIL_READ, &jail, err) != 0 ||
        bind_own(spec, prefix, "vmm.out", JAIL_WRITE, &jail, err) != 0) {
        return -1;
    }
    *ret = jail;
    jail = JAIL_NONE;
    return 0;
}
