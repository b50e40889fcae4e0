/* Facts: named JSON documents that the worker observed of the host ("host", "network", "worker"), for the API to show. */
#ifndef SMARTVM_DB_FACTS_H
#define SMARTVM_DB_FACTS_H

#include "db/db.h"

/* *ret NULL when there is none; owned by the caller. */
int facts_get(struct db *db, const char *name, char **ret, struct error *err);
/* Writes only when it differs; *ret_changed (may be NULL) tells. */
int facts_set(struct db *db, const char *name, const char *value, bool *ret_changed, struct error *err);

#endif
