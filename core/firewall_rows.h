/* Firewall policies and address sets as they are stored: JSON text that core/policy.h reads. */
#ifndef SMARTVM_CORE_FIREWALL_ROWS_H
#define SMARTVM_CORE_FIREWALL_ROWS_H

#include "core/record.h"

enum {
    FIREWALL_HOST = 0, /* instead of a VM's uid: the host-wide policy */
    FIREWALL_CONFIRM_MAX_MS = 3600 * 1000,
    FIREWALL_ERROR_MAX = 400,
    FIREWALL_CODE_MAX = 40,
};

struct firewall_row {
    int64_t vm_uid; /* of a policy */
    char *name;     /* of a set, else NULL */
    char *text;     /* the policy, or the set's list of networks; NULL: none any more, but its removal waits for confirmation */
    int64_t generation;
    int64_t confirm_until_ms; /* 0: nothing waits for a confirmation */
    int64_t updated_ms;
    int64_t applied_ms; /* when the worker noted that this generation is in force; 0: not yet */
};
void firewall_row_free(struct firewall_row *row); /* harmless on zeroes */
#define AUTO_FIREWALL_ROW __attribute__((cleanup(firewall_row_free))) struct firewall_row

/* All of them as they are with this generation. A set that a policy names is there. */
struct firewall_rows {
    struct firewall_row *policies; /* by uid: the host-wide one first */
    size_t policy_count;
    struct firewall_row *sets; /* by name */
    size_t set_count;
    int64_t generation;
};
void firewall_rows_free(struct firewall_rows *rows); /* harmless on zeroes */
#define AUTO_FIREWALL_ROWS __attribute__((cleanup(firewall_rows_free))) struct firewall_rows

/* What the worker has applied last: everything up to `generation`. error: why what is newer could not be, "" for nothing. */
struct firewall_observed {
    int64_t wanted;                 /* the newest generation that is stored */
    int64_t generation;             /* that is in force */
    char error[FIREWALL_ERROR_MAX]; /* of the last attempt, "" when there is none */
    char error_code[FIREWALL_CODE_MAX];
    int64_t attempted; /* the generation of the last attempt */
    int64_t since_ms;  /* since when everything is in force, or something is not yet, or can't be */
};

extern const struct record_table firewall_row_record;
extern const struct record_table firewall_rows_record;
extern const struct record_table firewall_observed_record;

#endif
