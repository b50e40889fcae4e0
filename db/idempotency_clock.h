/*
 * Inside db/ only: the clock by which idempotency keys grow old. It goes as CLOCK_BOOTTIME does, so nobody sets it: with the host's wall clock set forward, a
 * request that is sent again would be carried out twice, and set back, a key would stay for years. It stands still between two boots of the host, as nothing
 * that can be trusted tells how long that was: a key then lives longer, never shorter. The fact `idempotency_clock` has the boot and the clock's offset to it.
 */
#ifndef SMARTVM_DB_IDEMPOTENCY_CLOCK_H
#define SMARTVM_DB_IDEMPOTENCY_CLOCK_H

#include "db/db.h"

/* Milliseconds; never before the youngest key. */
int idempotency_clock_read(struct db *db, int64_t *ret_now_ms, struct error *err);

/* The same, for a write: the first one since the host booted notes the offset. */
int idempotency_clock_note(struct db *db, int64_t *ret_now_ms, struct error *err);

#endif
