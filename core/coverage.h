/*
 * The counters of a build with SMARTVM_COVERAGE, for tests/coverage.sh; in other builds all of this is nothing. A process writes its own when it ends by
 * exit(), below the directory GCOV_PREFIX of its environment. That is not enough for two:
 *   - the API process is another user, who may not change what root wrote: it gets a directory of its own, $SMARTVM_COVERAGE_API;
 *   - one that a fault kills never comes to exit(): it writes them before.
 * What is killed from outside is not counted.
 */
#ifndef SMARTVM_CORE_COVERAGE_H
#define SMARTVM_CORE_COVERAGE_H

#ifdef SMARTVM_COVERAGE
#include <gcov.h>
#include <stdlib.h>

static inline void coverage_of_api(void)
{
    const char *dir = getenv("SMARTVM_COVERAGE_API");
    if (dir != NULL) {
        (void)setenv("GCOV_PREFIX", dir, 1);
    }
}
static inline void coverage_before_kill(void)
{
    __gcov_dump();
}
#else
static inline void coverage_of_api(void)
{
}
static inline void coverage_before_kill(void)
{
}
#endif

#endif
