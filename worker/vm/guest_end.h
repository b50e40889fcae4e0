/*
 * The last words of a guest's kernel: does it end by a panic, a reboot, or for good? Linux says them at its most urgent level (kernel/panic.c,
 * kernel/reboot.c), so also with `quiet`. A guest can say what it wants; it only deceives whoever reads about it. Pure.
 */
#ifndef SMARTVM_WORKER_VM_GUEST_END_H
#define SMARTVM_WORKER_VM_GUEST_END_H

#include <stdbool.h>
#include <stddef.h>

enum guest_end {
    GUEST_END_NONE,
    GUEST_END_PANIC,  /* "Kernel panic - not syncing" */
    GUEST_END_REBOOT, /* "reboot: Restarting system" */
    GUEST_END_OFF,    /* "reboot: Power down" */
    GUEST_END_HALT,   /* "System halted" */
    GUEST_END_COUNT_
};

enum { GUEST_LINE_MAX = 160 };

/* The words that came last. `line` gets their line, from the words on and in printable ASCII; of a panic the first one, since it is told again at its end. */
enum guest_end guest_end_find(const char *text, size_t len, char line[GUEST_LINE_MAX]);

/* Does the text end with words after which a kernel does nothing any more, not even end its VMM: nothing but the rest of their line follows? */
bool guest_end_is_halt(const char *text, size_t len);

/* For tests: the words of each, NULL behind the last. */
struct guest_end_words {
    const char *words;
    enum guest_end end;
};
extern const struct guest_end_words guest_end_words[];

#endif
