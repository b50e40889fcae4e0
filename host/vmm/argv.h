/*
 * A command line under construction. Like a strbuf it never fails half-way: after an allocation failure
 * `failed` is set, every later call does nothing, and the caller checks once, at the end. Pure functions.
 */
#ifndef SMARTVM_HOST_VMM_ARGV_H
#define SMARTVM_HOST_VMM_ARGV_H

#include <stdbool.h>
#include <stddef.h>

struct argv {
    char **items; /* owned, and ends with NULL when there are any */
    size_t count;
    bool failed;
};

#define ARGV_INIT ((struct argv){NULL, 0, false})

void argv_add(struct argv *argv, const char *text);
void argv_addf(struct argv *argv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void argv_free(struct argv *argv);
/* Hands the NULL-terminated array over to the caller (vmm_argv_free()); NULL after an allocation failure. */
char **argv_take(struct argv *argv);

#define AUTO_ARGV __attribute__((cleanup(argv_free))) struct argv

#endif
