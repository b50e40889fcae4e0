/*
 * Scope-bound ownership, in the manner of systemd: a variable declared with one of these attributes is
 * released when it leaves its scope, and TAKE_PTR / TAKE_FD hand it on to the caller.
 */
#ifndef SMARTVM_CORE_CLEANUP_H
#define SMARTVM_CORE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

static inline void cleanup_closedir(DIR **d)
{
    if (*d != NULL) {
        (void)closedir(*d);
    }
}

#define AUTO_FREE     CLEANUP(cleanup_free)
#define AUTO_CLOSE    CLEANUP(cleanup_close)
#define AUTO_FCLOSE   CLEANUP(cleanup_fclose)
#define AUTO_CLOSEDIR CLEANUP(cleanup_closedir)

/* Returns the value and leaves the variable empty, so that its cleanup finds nothing to do. */
#define TAKE_PTR(p) \
    __extension__({ \
        __typeof__(p) taken_ = (p); \
        (p) = NULL; \
        taken_; \
    })

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}
#define TAKE_FD(fd) take_fd(&(fd))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
