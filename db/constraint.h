/*
 * What a violated constraint means to a client. SQLite's own text ("UNIQUE constraint failed: interfaces.tap") names the schema, and is never an answer.
 * Most of them can't be violated, as the caller looks first, in the same transaction; each still has its words.
 */
#ifndef SMARTVM_DB_CONSTRAINT_H
#define SMARTVM_DB_CONSTRAINT_H

#include "core/error.h"

struct constraint {
    const char *columns; /* as SQLite names those of a unique constraint: "ports.protocol, ports.host_port" */
    enum error_code code;
    const char *words;
};

extern const struct constraint constraints[];
extern const size_t constraint_count;

/* Fills *err; `extended_code` and `text` are SQLite's. Returns -1. */
int constraint_refuse(int extended_code, const char *text, struct error *err);

#endif
