/*
 * The WireGuard egress that is wanted: one row, which is never deleted, so that its generation only grows. Written by the API process, read by
 * both.
 */
#ifndef SMARTVM_DB_WIREGUARD_H
#define SMARTVM_DB_WIREGUARD_H

#include "db/db.h"

#include <stdint.h>

struct wireguard_row {
    int64_t generation;   /* of the last change; 0: there never was one */
    bool wanted;          /* false: none, or it was deleted; then there are no secrets */
    char *document;       /* wireguard_json() of the one that is wanted, or was last; NULL: there never was one */
    char *public_key;     /* of the managed one; NULL for an existing one */
    unsigned warnings;    /* a bit for each enum wireguard_warning */
    uint8_t *sealed;      /* wireguard_secrets_json(), sealed for the worker (core/seal.h); NULL for an existing one */
    size_t sealed_bytes;
    int64_t updated_ms;
};

void wireguard_row_free(struct wireguard_row *row); /* harmless on zeroes */
#define AUTO_WIREGUARD_ROW __attribute__((cleanup(wireguard_row_free))) struct wireguard_row

/* *ret must be zeroed. */
int wireguard_row_get(struct db *db, struct wireguard_row *ret, struct error *err);

/* Stores what is wanted, with the next generation, which *row gets. In the caller's transaction. */
int wireguard_row_put(struct db *db, struct wireguard_row *row, struct error *err);

/* Nothing is wanted any more, and the secrets are gone. In the caller's transaction. */
int wireguard_row_remove(struct db *db, struct error *err);

#endif
