/* A short list of names of interfaces, each once, in the order in which they were added. A value; pure functions. */
#ifndef SMARTVM_CORE_INTERFACE_NAMES_H
#define SMARTVM_CORE_INTERFACE_NAMES_H

#include "core/net_addr.h"

#include <stddef.h>

enum {
    INTERFACE_NAMES_MAX = 16,
    INTERFACE_NAMES_TEXT_MAX = INTERFACE_NAMES_MAX * INTERFACE_NAME_MAX, /* a name and what follows it */
};

struct interface_names {
    char items[INTERFACE_NAMES_MAX][INTERFACE_NAME_MAX];
    size_t count;
};

bool interface_names_have(const struct interface_names *names, const char *name);
/* False when it does not fit; one that is there already does. */
bool interface_names_add(struct interface_names *names, const char *name);
void interface_names_remove(struct interface_names *names, const char *name);
/* The same names, in whatever order. */
bool interface_names_equal(const struct interface_names *a, const struct interface_names *b);
bool interface_names_within(const struct interface_names *names, const struct interface_names *all);

/* "eth0 eth1"; no name has a blank in it. Reading skips what is too long for a name, and what is too much. */
char *interface_names_format(const struct interface_names *names, char *buf); /* buf[INTERFACE_NAMES_TEXT_MAX]; returns buf */
void interface_names_parse(const char *text, struct interface_names *ret);

#endif
