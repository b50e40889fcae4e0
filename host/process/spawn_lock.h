/*
 * Between the clone and the exec of process_spawn() the child holds copies of all descriptors of this process. Most don't mind; a TAP does: as long
 * as a copy is open, it counts as attached, and the VMM that it was made for gets EBUSY. Whoever opens such a descriptor for a moment
 * holds off spawns for that moment.
 */
#ifndef SMARTVM_HOST_PROCESS_SPAWN_LOCK_H
#define SMARTVM_HOST_PROCESS_SPAWN_LOCK_H

void spawn_lock_spawning(void);  /* shared: many processes may be started at once */
void spawn_lock_exclusive(void); /* no child is between clone and exec until spawn_unlock() */
void spawn_unlock(void);

#endif
