/* The parts of host/gate.h. Private to host/gate*.c. */
#ifndef SMARTVM_HOST_GATE_PARTS_H
#define SMARTVM_HOST_GATE_PARTS_H

#include "core/error.h"
#include "host/gate.h"

enum gate_side { GATE_IN, GATE_OUT, GATE_SIDE_COUNT_ };
enum { GATE_TAG_BYTES = 8, GATE_NAME_MAX = 16 /* BPF_OBJ_NAME_LEN */ };

struct gate_program {
    int fd; /* the process's, kept open: not to be closed */
    unsigned char tag[GATE_TAG_BYTES]; /* by which the kernel tells programs apart */
};

/* host/gate_program.c: loaded once, checked by the kernel, and kept. The error has the kernel's errno. */
const char *gate_program_name(enum gate_side side);
int gate_program_get(enum gate_side side, struct gate_program *ret, struct error *err);

/* host/gate_filter.c. `index`: of the bridge. */
int gate_filter_check(int index, enum gate_side side, const struct gate_program *program, char found[GATE_FOUND_MAX], struct error *err);
int gate_filter_apply(int index, enum gate_side side, const struct gate_program *program, struct error *err);

/* host/gate_rules.c */
int gate_rules_check(const struct gate *gate, char found[GATE_FOUND_MAX], struct error *err);
int gate_rules_apply(const struct gate *gate, struct error *err);

#endif
