/*
 * Where writable drives are staged: <stage_dir>/<mark>, a directory per VM below it. Marks are unique in a network namespace only, and a file system may be
 * shared by several: so it has the state_dir of the daemon that it belongs to as an extended attribute
 * (trusted.smartvm.state_dir), and one of another daemon's is left alone.
 */
#ifndef SMARTVM_WORKER_VM_STAGE_H
#define SMARTVM_WORKER_VM_STAGE_H

#include "core/config.h"
#include "core/error.h"

#include <stdint.h>

enum { STAGE_ROOT_MAX = 300 };

/*
 * Chooses the directory, and makes it, if `make`. With the default stage_dir, /dev/shm is taken if it is a tmpfs and nobody else's daemon has the directory
 * there, else run_dir. IN_USE: `stage_dir` is configured, and the directory in it is that of another daemon, which is named.
 */
int stage_root_choose(const struct config *config, const char *mark, bool make, char buf[STAGE_ROOT_MAX], struct error *err);

/* Does it say that it is this daemon's? */
bool stage_root_is_owned(const char *root, const struct config *config);

/* Is the file system that holds it a tmpfs, and how large is it? */
int stage_root_measure(const char *root, bool *ret_in_memory, int64_t *ret_size_mib);
/*
 * Is there room for another drive, also when every guest fills its own? On a tmpfs, drives may have what is free, less a sixteenth of the file system for whoever else uses it, and
 * less what the drives that are there may still grow by: a sparse one takes memory only as it is written to, but has the promise of all of it. INSUFFICIENT_STORAGE. What
 * is reserved is given back when the drive is there (or is not to be); on other file systems nothing is looked at. Any thread.
 */
int stage_reserve(const char *root, uint64_t bytes, struct error *err);
void stage_release(uint64_t bytes);

/* A directory that only root may write to; made when it is not there. */
int stage_make_directory(const char *path, struct error *err);

#endif
