#include "host/gate/parts.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Why there are no programs on this host: remembered, as it does not change while we run. */
static struct {
    pthread_mutex_t lock;
    char why[GATE_FOUND_MAX];
} missing = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The kernel has no such thing (also no module of it), or does not let us. Everything else is a failure like any. */
static bool is_missing(const struct error *why)
{
    return why->sys_errno == ENOSYS || why->sys_errno == EPERM || why->sys_errno == EACCES || why->sys_errno == EOPNOTSUPP || why->sys_errno == ENOENT;
}

static void remember(const struct error *why)
{
    (void)pthread_mutex_lock(&missing.lock);
    (void)snprintf(missing.why, sizeof missing.why, "%.*s", (int)sizeof missing.why - 1, why->message);
    (void)pthread_mutex_unlock(&missing.lock);
}

static void recall(char ret[GATE_FOUND_MAX])
{
    (void)pthread_mutex_lock(&missing.lock);
    memcpy(ret, missing.why, sizeof missing.why);
    (void)pthread_mutex_unlock(&missing.lock);
}

static int each_side(const struct gate *gate, int (*work)(int, enum gate_side, const struct gate_program *, char *, struct error *), char *found,
                     struct error *err)
{
    struct error why = {.sys_errno = 0};
    int index = (int)if_nametoindex(gate->bridge);
    for (int side = 0; side < GATE_SIDE_COUNT_ && found[0] == '\0'; side++) {
        struct gate_program program;
        if (gate_program_get((enum gate_side)side, &program, &why) != 0 || work(index, (enum gate_side)side, &program, found, &why) != 0) {
            if (is_missing(&why)) {
                remember(&why);
                return 0;
            }
            *err = why;
            return -1;
        }
    }
    return 0;
}

static void note_unchecked(struct gate_seen *ret)
{
    struct gate_program program;
    if (ret->missing[0] == '\0' && gate_program_get(GATE_IN, &program, NULL) == 0 && program.unchecked != 0) {
        const char *words = strerrordesc_np(program.unchecked);
        (void)snprintf(ret->unchecked, sizeof ret->unchecked, "a program may not read the kernel's memory, or " GATE_LAYOUT_PATH " is not there (%s)",
                       words != NULL ? words : "unknown error");
    }
}

int gate_check(const struct gate *gate, struct gate_seen *ret, struct error *err)
{
    *ret = (struct gate_seen){.found = ""};
    if (if_nametoindex(gate->bridge) == 0) {
        (void)snprintf(ret->found, sizeof ret->found, "there is no bridge");
        return 0;
    }
    recall(ret->missing);
    if (gate_rules_check(gate, ret->found, err) != 0) {
        return -1;
    }
    if (ret->missing[0] == '\0' && each_side(gate, gate_filter_check, ret->found, err) != 0) {
        return -1;
    }
    recall(ret->missing);
    note_unchecked(ret);
    return 0;
}

static int apply_side(int index, enum gate_side side, const struct gate_program *program, char *found, struct error *err)
{
    (void)found;
    return gate_filter_apply(index, side, program, err);
}

int gate_apply(const struct gate *gate, struct error *err)
{
    char nothing[GATE_FOUND_MAX] = "";
    return gate_rules_apply(gate, err) == 0 ? each_side(gate, apply_side, nothing, err) : -1;
}

int gate_remove(const char *bridge, size_t *ret_count, struct error *err)
{
    return gate_rules_remove(bridge, ret_count, err);
}
