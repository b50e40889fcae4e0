/* Inside core/wireguard*.c: the keys of a configuration as one table, which both the text and the JSON fields are read by. */
#ifndef SMARTVM_CORE_WIREGUARD_FIELDS_H
#define SMARTVM_CORE_WIREGUARD_FIELDS_H

#include "core/wireguard.h"

/* What is being built. */
struct wireguard_build {
    struct wireguard *config;
    struct wireguard_peer *peer; /* that a peer's keys are for: the last one */
    struct wireguard_faults *faults;
    bool ipv6;
    bool from_text;
    bool has_no_keys;                      /* what is loaded from the database */
    bool tried_private_key, tried_address; /* what was refused is not also missing */
    bool left_out_address;
    struct wireguard_peer_note {
        unsigned place; /* line of its section, or index */
        bool tried_public_key, left_out_allowed;
    } notes[WIREGUARD_PEERS_MAX]; /* of the peers, in the order in which they are told */
};

struct wireguard_key_row {
    const char *name;  /* as wg(8) writes it */
    const char *field; /* of JSON */
    bool in_peer;
    bool is_list;      /* its elements are set one by one; else it may stand there once */
    bool may_be_empty; /* in a text: then it says nothing */
    /* `value` is one element, trimmed. The message says what a value must be, and never what it was. */
    int (*set)(struct wireguard_build *build, const char *value, struct error *err);
};

enum { WIREGUARD_KEY_COUNT = 10 };
extern const struct wireguard_key_row wireguard_key_rows[WIREGUARD_KEY_COUNT];

/* *err becomes one of the faults, and reading goes on; -1 when it is none (out of memory). `line` 0: it is of no line. */
int wireguard_note_fault(struct wireguard_build *build, const char *pointer, unsigned line, struct error *err);

int wireguard_add_peer(struct wireguard_build *build, unsigned place, struct error *err);
/* What only the whole can tell; sorts. Fails if there is any fault by now, with the first one in *err. */
int wireguard_finish(struct wireguard_build *build, struct error *err);

int wireguard_refuse(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
