/*
 * Faults on demand, for tests/fault. In a build without SMARTVM_FAULTS all of this is nothing.
 *
 * A place where a fault can be had is named "<area>.<name>", such as "vm.create_tap" or "db.commit": before each operation of a plan and after
 * it, around each commit, at each write of SQLite, at each allocation of our own code. Which fault is wanted stands in a line of the file that
 * fault_init() names:
 *
 *     <role> <area>.<name> <skip> <times> <mode>
 *
 * role: worker or api. skip: how many hits pass before. times: how many are hit, -1: all from then on. mode: fail (the operation reports an
 * error and does nothing), hang (it sleeps HANG_MS first), kill-before, kill-after (SIGKILL to this process). When the last of `times` was hit the
 * line's first byte becomes '#', and a second line counts from then on: a fault while the first one is recovered from. The line "record" instead
 * makes each hit a line "<role> <area>.<name>" of the file <path>.log.
 * The file is read anew when it changes. Any thread.
 */
#ifndef SMARTVM_CORE_FAULT_H
#define SMARTVM_CORE_FAULT_H

#include "core/error.h"

enum { FAULT_HANG_MS = 1500 };

#ifdef SMARTVM_FAULTS
void fault_init(const char *role, const char *path);
/* -1 when the operation shall fail; err (may be NULL) says so. */
int fault_before(const char *area, const char *name, struct error *err);
void fault_after(const char *area, const char *name);
bool fault_alloc_fails(void);
#else
static inline void fault_init(const char *role, const char *path)
{
    (void)role;
    (void)path;
}
static inline int fault_before(const char *area, const char *name, struct error *err)
{
    (void)area;
    (void)name;
    (void)err;
    return 0;
}
static inline void fault_after(const char *area, const char *name)
{
    (void)area;
    (void)name;
}
#endif

#endif
