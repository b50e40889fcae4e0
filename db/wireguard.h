/*
 * The WireGuard egress that is wanted: one row, which is never deleted, so that its generation only grows. Written by the API process, read by
 * both.
 */
#ifndef SMARTVM_DB_WIREGUARD_H
#define SMARTVM_DB_WIREGUARD_H

#include "core/wireguard_row.h"
#include "db/db.h"

/* *ret must be zeroed. */
int wireguard_row_get(struct db *db, struct wireguard_row *ret, struct error *err);

/* Stores what is wanted, with the next generation, which *row gets. In the caller's transaction. */
int wireguard_row_put(struct db *db, struct wireguard_row *row, struct error *err);

/* Nothing is wanted any more, and the secrets are gone. In the caller's transaction. */
int wireguard_row_remove(struct db *db, struct error *err);

#endif
