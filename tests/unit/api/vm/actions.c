/* What may be wanted of a VM in which state: the table, its effects, and the requests that use it. */
#include "tests/unit/api/api_box.h"

#include "api/vm/actions.h"

#include <inttypes.h>

enum { A_START = 1, A_STOP = 2, A_KILL = 4, A_PAUSE = 8, A_RESUME = 16, A_REBOOT = 32 };

/* Written out a second time, by state instead of by action. */
static const unsigned allowed_in[VM_STATE_COUNT_] = {
    [VM_CREATING] = A_STOP | A_KILL | A_PAUSE,
    [VM_STOPPED] = A_START,
    [VM_STARTING] = A_STOP | A_KILL | A_PAUSE,
    [VM_RUNNING] = A_STOP | A_KILL | A_PAUSE | A_REBOOT,
    [VM_PAUSED] = A_STOP | A_KILL | A_RESUME | A_REBOOT,
    [VM_STOPPING] = A_STOP | A_KILL,
    [VM_DELETING] = 0,
    [VM_FAILED] = A_START,
};

static struct vm_row a_row(enum vm_state state)
{
    static char id[] = "a";
    bool down = state == VM_STOPPED || state == VM_STOPPING;
    return (struct vm_row){.id = id,
                           .state = state,
                           .desired = down                 ? VM_WANT_STOPPED
                                      : state == VM_PAUSED ? VM_WANT_PAUSED
                                                           : VM_WANT_RUNNING,
                           .stop_timeout_ms = -1,
                           .boot_wanted = 3,
                           .boot_done = state == VM_CREATING || state == VM_STARTING ? 2 : 3};
}

START_TEST(test_the_table)
{
    for (size_t state = 0; state < VM_STATE_COUNT_; state++) {
        for (size_t action = 0; action < VM_ACTION_COUNT_; action++) {
            struct vm_row row = a_row((enum vm_state)state);
            struct error error = {0};
            bool expected = (allowed_in[state] & (1U << action)) != 0;
            bool got = vm_action_apply((enum vm_action)action, &row, 7000, &error) == 0;
            ck_assert_msg(got == expected, "%s in %s", vm_action_name((enum vm_action)action), vm_state_name((enum vm_state)state));
            if (!expected) {
                ck_assert_int_eq(error.code, ERR_INVALID_STATE);
                ck_assert_ptr_nonnull(strstr(error.message, vm_state_name((enum vm_state)state)));
                ck_assert_ptr_nonnull(strstr(error.message, vm_action_name((enum vm_action)action)));
            }
        }
    }
}
END_TEST

START_TEST(test_the_words_of_a_refusal)
{
    struct vm_row row = a_row(VM_STOPPED);
    struct error error = {0};
    ck_assert_int_eq(vm_action_apply(VM_ACTION_PAUSE, &row, -1, &error), -1);
    ck_assert_str_eq(error.message, "VM 'a' is stopped; pause is allowed when it is creating, starting, running; "
                                    "allowed now: start, delete");
    row.deleting = true;
    ck_assert_int_eq(vm_action_apply(VM_ACTION_START, &row, -1, &error), -1);
    ck_assert_int_eq(error.code, ERR_INVALID_STATE);
    ck_assert_str_eq(error.message, "VM 'a' is deleting; allowed now: delete");
}
END_TEST

static const struct effect {
    enum vm_action action;
    enum vm_state state;
    enum vm_desired desired;
    int64_t stop_timeout_ms;
    int64_t boot_wanted;
} effects[] = {
    {VM_ACTION_START, VM_STOPPED, VM_WANT_RUNNING, -1, 4},   {VM_ACTION_START, VM_FAILED, VM_WANT_RUNNING, -1, 4},
    {VM_ACTION_STOP, VM_RUNNING, VM_WANT_STOPPED, 7000, 3},  {VM_ACTION_STOP, VM_STOPPING, VM_WANT_STOPPED, 7000, 3},
    {VM_ACTION_KILL, VM_RUNNING, VM_WANT_STOPPED, 0, 3},     {VM_ACTION_KILL, VM_CREATING, VM_WANT_STOPPED, 0, 3},
    {VM_ACTION_PAUSE, VM_RUNNING, VM_WANT_PAUSED, -1, 3},    {VM_ACTION_PAUSE, VM_STARTING, VM_WANT_PAUSED, -1, 3},
    {VM_ACTION_RESUME, VM_PAUSED, VM_WANT_RUNNING, -1, 3},   {VM_ACTION_REBOOT, VM_RUNNING, VM_WANT_RUNNING, 7000, 4},
    {VM_ACTION_REBOOT, VM_PAUSED, VM_WANT_RUNNING, 7000, 4},
};

START_TEST(test_effects)
{
    for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
        const struct effect *e = &effects[i];
        struct vm_row row = a_row(e->state);
        must(vm_action_apply(e->action, &row, 7000, &box_error));
        ck_assert_msg(row.desired == e->desired && row.stop_timeout_ms == e->stop_timeout_ms && row.boot_wanted == e->boot_wanted,
                      "%s in %s: %s, %" PRId64 ", %" PRId64, vm_action_name(e->action), vm_state_name(e->state), vm_desired_name(row.desired),
                      row.stop_timeout_ms, row.boot_wanted);
    }
}
END_TEST

START_TEST(test_boots_that_are_wanted)
{
    struct vm_row row = a_row(VM_STOPPED);
    row.desired = VM_WANT_RUNNING; /* a start that nobody has looked at yet */
    row.boot_done = 2;
    must(vm_action_apply(VM_ACTION_START, &row, -1, &box_error));
    ck_assert_int_eq(row.boot_wanted, 3);
    row = a_row(VM_STOPPED);
    row.desired = VM_WANT_RUNNING; /* it ended by itself, and was not given up yet */
    must(vm_action_apply(VM_ACTION_START, &row, -1, &box_error));
    ck_assert_int_eq(row.boot_wanted, 4);
    row = a_row(VM_STOPPING);
    vm_want(&row, VM_WANT_RUNNING); /* its process may end at any moment */
    ck_assert_int_eq(row.boot_wanted, 4);
    vm_want(&row, VM_WANT_PAUSED);
    ck_assert_int_eq(row.boot_wanted, 4);
    row = a_row(VM_RUNNING);
    vm_want(&row, VM_WANT_RUNNING);
    ck_assert_int_eq(row.boot_wanted, 3);
    row = a_row(VM_FAILED);
    vm_want(&row, VM_WANT_PAUSED);
    ck_assert_int_eq(row.boot_wanted, 4);
    ck_assert_int_eq(row.desired, VM_WANT_PAUSED);
}
END_TEST

START_TEST(test_a_stop_does_not_soften_a_kill)
{
    struct vm_row row = a_row(VM_RUNNING);
    must(vm_action_apply(VM_ACTION_KILL, &row, -1, &box_error));
    must(vm_action_apply(VM_ACTION_STOP, &row, 60000, &box_error));
    ck_assert_int_eq(row.stop_timeout_ms, 0);
    vm_want(&row, VM_WANT_STOPPED);
    ck_assert_int_eq(row.stop_timeout_ms, 0);
    vm_want(&row, VM_WANT_RUNNING); /* another boot; its stop is another stop */
    vm_want(&row, VM_WANT_STOPPED);
    ck_assert_int_eq(row.stop_timeout_ms, -1);
}
END_TEST

START_TEST(test_actions_by_request)
{
    AUTO_VM_ROW row = {0};
    AUTO_VM_ROW again = {0};
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_post("/vms/a/stop", "{\"timeout_seconds\":3}"), 202);
    box_check_schema("Vm");
    ck_assert_str_eq(box_string("state"), "running");
    ck_assert_str_eq(box_string("desired_state"), "stopped");
    ck_assert_str_eq(box.woken, "vm/a");
    box_load("a", &row);
    ck_assert_int_eq(row.stop_timeout_ms, 3000);
    ck_assert_int_eq(row.generation, 2);
    int wakes = box.wake_count;
    ck_assert_int_eq(box_post("/vms/a/stop", "{\"timeout_seconds\":3}"), 202);
    box_load("a", &again);
    ck_assert_int_eq(again.generation, 2); /* nothing new is wanted */
    ck_assert_int_eq(box.wake_count, wakes);
    box_observe("a", VM_STOPPED);
    box_refused(409, "INVALID_STATE", "POST", "/vms/a/stop", NULL, NULL);
    box_refused(409, "INVALID_STATE", "POST", "/vms/a/kill", NULL, NULL);
    ck_assert_int_eq(box_post("/vms/a/start", NULL), 202);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/a/stop", "{\"timeout_seconds\":301}", NULL);
    box_refused(404, "NOT_FOUND", "POST", "/vms/b/start", NULL, NULL);
    box_refused(400, "INVALID_REQUEST", "POST", "/vms/B/start", NULL, NULL);
}
END_TEST

START_TEST(test_stop_of_the_default_length)
{
    AUTO_VM_ROW row = {0};
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_post("/vms/a/reboot", "{\"timeout_seconds\":0}"), 202);
    box_load("a", &row);
    ck_assert_int_eq(row.stop_timeout_ms, 0);
    ck_assert_int_eq(row.boot_wanted, 2);
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(box_post("/vms/a/stop", NULL), 202);
    vm_row_free(&row);
    box_load("a", &row);
    ck_assert_int_eq(row.stop_timeout_ms, -1);
}
END_TEST

START_TEST(test_a_deleting_vm_refuses_all_but_delete)
{
    static const char *const actions[] = {"start", "stop", "kill", "pause", "resume", "reboot"};
    char path[64];
    box_add_vm("a", VM_RUNNING);
    ck_assert_int_eq(box_send("DELETE", "/vms/a", NULL, NULL), 202);
    ck_assert_str_eq(box_string("state"), "deleting");
    box_check_schema("Vm");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        (void)snprintf(path, sizeof path, "/vms/a/%s", actions[i]);
        box_refused(409, "INVALID_STATE", "POST", path, NULL, NULL);
        ck_assert_ptr_nonnull(strstr(box_string("detail"), "deleting"));
    }
    box_refused(409, "INVALID_STATE", "PATCH", "/vms/a", "{\"labels\":{}}", NULL);
    ck_assert_int_eq(box_send("DELETE", "/vms/a", NULL, NULL), 202);
    box_remove_vm("a");
    box_refused(404, "NOT_FOUND", "DELETE", "/vms/a", NULL, NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_the_table,
        test_the_words_of_a_refusal,
        test_effects,
        test_boots_that_are_wanted,
        test_a_stop_does_not_soften_a_kill,
        test_actions_by_request,
        test_stop_of_the_default_length,
        test_a_deleting_vm_refuses_all_but_delete,
    };
    return box_run("api actions", tests, ARRAY_LEN(tests));
}
