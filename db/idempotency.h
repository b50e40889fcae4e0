/* Idempotency keys: the answer of a POST, stored in the transaction of its effect. */
#ifndef SMARTVM_DB_IDEMPOTENCY_H
#define SMARTVM_DB_IDEMPOTENCY_H

#include "db/db.h"

/* What an answer did not wait for, or not long enough. */
struct idempotency_pending {
    char *path; /* NULL: the answer is the last one. Else it tells, as `kind` does, what the API knows it by */
    char *id;
    int64_t identity;
    int kind;
    bool up;
};

struct idempotency_row {
    char *fingerprint; /* of method, path and body */
    int status;
    char *location; /* or NULL */
    char *etag;     /* or NULL */
    char *body;
    struct idempotency_pending pending;
};
void idempotency_row_free(struct idempotency_row *row);

/* One that is older than LIMIT_IDEMPOTENCY_S is not found. */
int idempotency_get(struct db *db, const char *key, struct idempotency_row *ret, bool *ret_found, struct error *err);
/*
 * Stores, or replaces the answer of, a key; that of another request with a key is left as it is: the key of the first one has expired meanwhile. Expired keys
 * go, some with each call, and the oldest beyond LIMIT_IDEMPOTENCY_KEYS. The cost does not grow with the number of keys.
 */
int idempotency_put(struct db *db, const char *key, const struct idempotency_row *row, struct error *err);

#endif
