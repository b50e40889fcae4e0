/* Inside core/wireguard*.c: the keys of a configuration as one table, which both the text and the JSON fields are read by. */
#ifndef SMARTVM_CORE_WIREGUARD_KEYS_H
#define SMARTVM_CORE_WIREGUARD_KEYS_H

#include "core/wireguard.h"

/* What is being built; `peer` is the one that a peer's keys are for. */
struct wireguard_build {
    struct wireguard *config;
    struct wireguard_peer *peer;
    bool ipv6;
};

struct wireguard_key_row {
    const char *name;  /* as wg(8) writes it */
    const char *field; /* of JSON */
    bool in_peer;
    bool is_list; /* its elements are set one by one; else it may stand there once */
    /* `value` is one element, trimmed. The message says what a value must be, and never what it was. */
    int (*set)(struct wireguard_build *build, const char *value, struct error *err);
};

enum { WIREGUARD_KEY_COUNT = 10 };
extern const struct wireguard_key_row wireguard_key_rows[WIREGUARD_KEY_COUNT];

struct wireguard_peer *wireguard_add_peer(struct wireguard_build *build, struct error *err); /* NULL on failure */
/* What only the whole can tell; sorts. */
int wireguard_finish(struct wireguard *config, struct error *err);

int wireguard_fault(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
