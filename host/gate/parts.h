/* The parts of host/gate/gate.h. Private to host/gate*.c. */
#ifndef SMARTVM_HOST_GATE_PARTS_H
#define SMARTVM_HOST_GATE_PARTS_H

#include "core/error.h"
#include "host/gate/gate.h"

enum gate_side { GATE_IN, GATE_OUT, GATE_SIDE_COUNT_ };
enum { GATE_TAG_BYTES = 8, GATE_NAME_MAX = 16 /* BPF_OBJ_NAME_LEN */ };

struct gate_program {
    int fd;                            /* the process's, kept open: not to be closed */
    unsigned char tag[GATE_TAG_BYTES]; /* by which the kernel tells programs apart */
    int unchecked;                     /* why it does not look at open checksums, an errno; 0: it does */
};

/* host/gate/layout.c: where struct sk_buff has its members, in bytes. */
struct gate_layout {
    int summed, summed_shift; /* ip_summed: the byte, and by how many bits it is shifted there */
    int checksum;             /* csum_start; csum_offset is right behind it. Both are 16 bits, and so is: */
    int mac_header;
};
#define GATE_LAYOUT_PATH "/sys/kernel/btf/vmlinux"
/* Returns an errno: ENOENT when the kernel does not describe itself, or packets otherwise than we know. */
int gate_layout_read(const char *path, struct gate_layout *ret);

/* host/gate/program.c: loaded once, checked by the kernel, and kept. The error has the kernel's errno. */
const char *gate_program_name(enum gate_side side);
int gate_program_get(enum gate_side side, struct gate_program *ret, struct error *err);

/* host/gate/filter.c. `index`: of the bridge. */
int gate_filter_check(int index, enum gate_side side, const struct gate_program *program, char found[GATE_FOUND_MAX], struct error *err);
int gate_filter_apply(int index, enum gate_side side, const struct gate_program *program, struct error *err);

/* host/gate/rules.c */
int gate_rules_check(const struct gate *gate, char found[GATE_FOUND_MAX], struct error *err);
int gate_rules_apply(const struct gate *gate, struct error *err);
int gate_rules_remove(const char *bridge, size_t *ret_count, struct error *err);

#endif
