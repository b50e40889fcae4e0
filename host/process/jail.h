/*
 * The root directory of a process of its own: a small tmpfs and what is bound into it. It is built before the process is there, as mounts that are attached
 * nowhere (fsmount(2), open_tree(2), mount_setattr(2): Linux 5.12); the child attaches them in a mount namespace of its own (host/process/child.h). So nothing
 * ever stands in the host's mount table, and everything goes by itself with the process.
 *
 * Paths are relative to the tmpfs, without "..". One thread at a time. Error: SYSTEM.
 */
#ifndef SMARTVM_HOST_PROCESS_JAIL_H
#define SMARTVM_HOST_PROCESS_JAIL_H

#include "core/error.h"

#include <stdint.h>
#include <sys/types.h>

enum { JAIL_BINDS_MAX = 32, JAIL_PATH_MAX = 256 };

struct jail_bind {
    int mount; /* owned; attached nowhere */
    char path[JAIL_PATH_MAX];
};

struct jail {
    int root;          /* the tmpfs; owned, -1: there is no jail */
    const char *place; /* an empty directory of the host, where the child attaches it; absolute */
    struct jail_bind binds[JAIL_BINDS_MAX];
    size_t count;
    uid_t uid;               /* and gid, that the child takes on, without any capability; 0: the program does that itself, and enters its root itself, too */
    uint64_t file_bytes_max; /* RLIMIT_FSIZE; 0: as the daemon's */
};
#define JAIL_NONE ((struct jail){.root = -1})

/* What a jail may hold: what its process writes there is bounded by it. */
int jail_open(uint64_t bytes, unsigned inodes, struct jail *ret, struct error *err);
void jail_close(struct jail *jail); /* harmless for JAIL_NONE */
#define AUTO_JAIL __attribute__((cleanup(jail_close))) struct jail

/* With its parents, root's and mode 0755. */
int jail_add_directory(struct jail *jail, const char *path, struct error *err);
int jail_add_link(struct jail *jail, const char *path, const char *target, struct error *err);
int jail_add_device(struct jail *jail, const char *path, dev_t device, mode_t mode, uid_t owner, struct error *err);

/* Gives a directory to its process; "." is the root. */
int jail_give(struct jail *jail, const char *path, uid_t owner, struct error *err);

enum jail_access {
    JAIL_READ,    /* files and directories that nothing can be written to, nor executed from */
    JAIL_EXECUTE, /* likewise, but for that */
    JAIL_WRITE,   /* a file that may be written to */
};
/* Binds a file or directory of the host, which is opened without following a link at its end. */
int jail_add_bind(struct jail *jail, const char *path, const char *of, enum jail_access access, struct error *err);

/* Can this host make jails? Said in words when it can't. */
int jail_probe(struct error *err);

#endif
