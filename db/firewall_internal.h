/* Inside db/ only. */
#ifndef SMARTVM_DB_FIREWALL_INTERNAL_H
#define SMARTVM_DB_FIREWALL_INTERNAL_H

#include "db/db.h"

/* The next number of the sequence, in the caller's transaction. */
int firewall_next_generation(struct db *db, int64_t *ret, struct error *err);

#endif
