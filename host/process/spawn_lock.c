#include "host/process/spawn_lock.h"

#include <pthread.h>

/* Writers first: else starts without a pause would keep a TAP from ever being made. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void spawn_lock_spawning(void)
{
    (void)pthread_rwlock_rdlock(&lock);
}

void spawn_lock_exclusive(void)
{
    (void)pthread_rwlock_wrlock(&lock);
}

void spawn_unlock(void)
{
    (void)pthread_rwlock_unlock(&lock);
}
