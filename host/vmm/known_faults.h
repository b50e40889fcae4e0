/* Versions of the programs that are known to be broken in a way that matters here: a table, to be kept current. Pure. */
#ifndef SMARTVM_HOST_VMM_KNOWN_FAULTS_H
#define SMARTVM_HOST_VMM_KNOWN_FAULTS_H

#include <stdbool.h>

struct known_fault {
    const char *program;      /* "jailer" */
    const char *first, *last; /* versions, both of them included */
    const char *name;         /* "CVE-2026-1386" */
    const char *words;        /* what it is, and what it means here */
};
extern const struct known_fault known_faults[]; /* ends with a program of NULL */

/* The first one that this version has; NULL: none is known. */
const struct known_fault *known_fault_find(const char *program, const char *version);

/* Like strcmp(), by the numbers between the dots: "1.9" is before "1.10.1". */
int version_compare(const char *a, const char *b);

#endif
