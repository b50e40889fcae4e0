#include "api/vm/actions.h"

#include "core/cleanup.h"

#include <stdio.h>
#include <string.h>

#define IN(state) (1U << (state))

static const struct {
    const char *name;
    unsigned states; /* a bit for each state that allows it */
} action_table[VM_ACTION_COUNT_] = {
    [VM_ACTION_START] = {"start", IN(VM_STOPPED) | IN(VM_FAILED)},
    [VM_ACTION_STOP] = {"stop", IN(VM_CREATING) | IN(VM_STARTING) | IN(VM_RUNNING) | IN(VM_PAUSED) | IN(VM_STOPPING)},
    [VM_ACTION_KILL] = {"kill", IN(VM_CREATING) | IN(VM_STARTING) | IN(VM_RUNNING) | IN(VM_PAUSED) | IN(VM_STOPPING)},
    [VM_ACTION_PAUSE] = {"pause", IN(VM_CREATING) | IN(VM_STARTING) | IN(VM_RUNNING)},
    [VM_ACTION_RESUME] = {"resume", IN(VM_PAUSED)},
    [VM_ACTION_REBOOT] = {"reboot", IN(VM_RUNNING) | IN(VM_PAUSED)},
};

const char *vm_action_name(enum vm_action action)
{
    return action_table[action].name;
}

bool vm_action_allowed(enum vm_action action, enum vm_state state)
{
    return (action_table[action].states & IN(state)) != 0;
}

struct words {
    char text[256];
    size_t len;
};

static void add_word(struct words *words, const char *word)
{
    int n = snprintf(words->text + words->len, sizeof words->text - words->len, "%s%s", words->len > 0 ? ", " : "", word);
    words->len += n > 0 ? (size_t)n : 0;
}

static void words_of_states(unsigned states, struct words *ret)
{
    for (size_t i = 0; i < VM_STATE_COUNT_; i++) {
        if ((states & IN(i)) != 0) {
            add_word(ret, vm_state_name((enum vm_state)i));
        }
    }
}

static void words_of_actions(enum vm_state state, struct words *ret)
{
    for (size_t i = 0; i < VM_ACTION_COUNT_; i++) {
        if (vm_action_allowed((enum vm_action)i, state)) {
            add_word(ret, action_table[i].name);
        }
    }
    add_word(ret, "delete");
}

static int refuse(const struct vm_row *row, const char *what, unsigned states, struct error *err)
{
    struct words where = {.len = 0};
    struct words now = {.len = 0};
    words_of_states(states, &where);
    words_of_actions(row->state, &now);
    return error_set(err, ERR_INVALID_STATE, "VM '%s' is %s; %s is allowed when it is %s; allowed now: %s", row->id, vm_state_name(row->state), what,
                     where.text, now.text);
}

int vm_check_not_deleting(const struct vm_row *row, struct error *err)
{
    if (!row->deleting) {
        return 0;
    }
    return error_set(err, ERR_INVALID_STATE, "VM '%s' is deleting; allowed now: delete", row->id);
}

/*
 * A boot that is wanted already and was not done yet is not wanted twice; one that was done, and ended, is
 * not enough. A VM that is still on its way down has a process that may end at any moment, so wanting it up
 * again means another one.
 */
static void want_up(struct vm_row *row, enum vm_desired desired)
{
    bool is_down = row->state == VM_STOPPED || row->state == VM_FAILED;
    if (row->desired == VM_WANT_STOPPED || (is_down && row->boot_done >= row->boot_wanted)) {
        row->boot_wanted++;
    }
    row->desired = desired;
}

static void want_down(struct vm_row *row, int64_t stop_timeout_ms)
{
    bool being_killed = row->desired == VM_WANT_STOPPED && row->stop_timeout_ms == 0;
    row->desired = VM_WANT_STOPPED;
    if (!being_killed) {
        row->stop_timeout_ms = stop_timeout_ms;
    }
}

void vm_want(struct vm_row *row, enum vm_desired desired)
{
    if (desired != VM_WANT_STOPPED) {
        want_up(row, desired);
    } else if (row->desired != VM_WANT_STOPPED) {
        want_down(row, -1);
    }
}

int vm_action_apply(enum vm_action action, struct vm_row *row, int64_t stop_timeout_ms, struct error *err)
{
    if (vm_check_not_deleting(row, err) != 0) {
        return -1;
    }
    if (!vm_action_allowed(action, row->state)) {
        return refuse(row, action_table[action].name, action_table[action].states, err);
    }
    switch (action) {
    case VM_ACTION_START:
    case VM_ACTION_RESUME:
        want_up(row, VM_WANT_RUNNING);
        break;
    case VM_ACTION_PAUSE:
        want_up(row, VM_WANT_PAUSED);
        break;
    case VM_ACTION_STOP:
        want_down(row, stop_timeout_ms);
        break;
    case VM_ACTION_KILL:
        want_down(row, 0);
        break;
    case VM_ACTION_REBOOT:
        row->boot_wanted++;
        row->desired = VM_WANT_RUNNING;
        row->stop_timeout_ms = stop_timeout_ms;
        break;
    case VM_ACTION_COUNT_:
        break;
    }
    return 0;
}
