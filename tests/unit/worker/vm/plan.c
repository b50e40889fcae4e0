/* The planner of VMs: every case without root, and rules that hold for every combination of inputs. */
#include "worker/vm/plan.h"
#include "worker/vm/restart.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct vm_wanted wanted;
static struct vm_observed observed;
static struct vm_plan plan;

static void setup(void)
{
    wanted = (struct vm_wanted){
        .desired = VM_WANT_RUNNING, .boot_wanted = 1, .interface_count = 2, .stop_timeout_ms = 5000, .shutdown_sent_ms = -1, .now_ms = 100000};
    memset(&observed, 0, sizeof observed);
}

static void set_running(void)
{
    wanted.boot_done = 1;
    wanted.was_running = true;
    wanted.guest_elements = true;
    observed = (struct vm_observed){.process_alive = true,
                                    .process_boot = 1,
                                    .vmm_answers = true,
                                    .vmm_state = VMM_STATE_RUNNING,
                                    .tap_present = {true, true},
                                    .run_dir_present = true,
                                    .staged_present = true,
                                    .uid_held = true};
}

static void make(void)
{
    vm_plan_make(&wanted, &observed, &plan);
}

static int position(enum vm_op_type type)
{
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.ops[i].type == type) {
            return (int)i;
        }
    }
    return -1;
}

START_TEST(start_in_order)
{
    make();
    const enum vm_op_type expected[] = {VM_OP_MAKE_RUN_DIR, VM_OP_TAKE_UID,    VM_OP_STAGE_DRIVES, VM_OP_ADD_GUEST, VM_OP_CREATE_TAP,
                                        VM_OP_CREATE_TAP,   VM_OP_PREPARE_VMM, VM_OP_SET_LIMITS,   VM_OP_SPAWN_VMM, VM_OP_AWAIT_VMM};
    ck_assert_int_eq(plan.state, VM_STARTING);
    ck_assert_uint_eq(plan.count, 10);
    for (size_t i = 0; i < plan.count; i++) {
        ck_assert_int_eq(plan.ops[i].type, expected[i]);
    }
    ck_assert_uint_eq(plan.ops[5].index, 1);
}
END_TEST

START_TEST(start_without_network_and_paused)
{
    wanted.interface_count = 0;
    wanted.desired = VM_WANT_PAUSED;
    make();
    ck_assert_int_eq(position(VM_OP_ADD_GUEST), -1);
    ck_assert_int_eq(position(VM_OP_CREATE_TAP), -1);
    ck_assert_int_eq(plan.ops[plan.count - 1].type, VM_OP_PAUSE_VMM);
}
END_TEST

START_TEST(start_in_another_network)
{
    wanted.readdress = true;
    make();
    const enum vm_op_type first[] = {VM_OP_MAKE_RUN_DIR, VM_OP_TAKE_UID, VM_OP_READDRESS, VM_OP_STAGE_DRIVES, VM_OP_ADD_GUEST};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        ck_assert_int_eq(plan.ops[i].type, first[i]);
    }
    /* What a boot before left has the old addresses: it goes first. */
    wanted.guest_elements = true;
    observed.tap_present[1] = true;
    make();
    const enum vm_op_type again[] = {VM_OP_MAKE_RUN_DIR, VM_OP_TAKE_UID, VM_OP_REMOVE_TAPS, VM_OP_REMOVE_GUEST, VM_OP_READDRESS, VM_OP_STAGE_DRIVES};
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
        ck_assert_int_eq(plan.ops[i].type, again[i]);
    }
    /* A guest that runs keeps what it has. */
    set_running();
    make();
    ck_assert_uint_eq(plan.count, 0);
}
END_TEST

START_TEST(running_needs_nothing)
{
    set_running();
    make();
    ck_assert_uint_eq(plan.count, 0);
    ck_assert_int_eq(plan.state, VM_RUNNING);
}
END_TEST

START_TEST(silence_is_a_failed_start_only_before_the_first_answer)
{
    const struct {
        enum vm_state shown, planned;
    } cases[] = {{VM_CREATING, VM_STARTING}, {VM_STARTING, VM_STARTING}, {VM_RUNNING, VM_RUNNING}, {VM_PAUSED, VM_PAUSED}};
    for (size_t i = 0; i < 4; i++) {
        set_running();
        wanted.state = cases[i].shown;
        observed.vmm_answers = false;
        make();
        ck_assert_int_eq(plan.state, cases[i].planned);
        bool starting = cases[i].planned == VM_STARTING;
        ck_assert_uint_eq(plan.count, starting ? 1 : 0);
        ck_assert_int_eq(position(VM_OP_AWAIT_VMM), starting ? 0 : -1);
        ck_assert_int_eq(plan.look_again_ms, starting ? -1 : wanted.now_ms + VM_ASK_AGAIN_MS);
    }
}
END_TEST

START_TEST(a_tap_astray_is_brought_back)
{
    set_running();
    strcpy(observed.tap_found[1], "it is down");
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_REPAIR_TAP);
    ck_assert_uint_eq(plan.ops[0].index, 1);
    ck_assert_int_eq(plan.state, VM_RUNNING);
    observed.tap_present[1] = false; /* a running VMM can't be given a new one */
    make();
    ck_assert_uint_eq(plan.count, 0);
}
END_TEST

START_TEST(changed_ports_of_a_running_vm)
{
    wanted.ports_changed = true;
    make(); /* about to start: they come with its addresses */
    ck_assert_int_eq(position(VM_OP_SET_PORTS), -1);
    set_running();
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(position(VM_OP_SET_PORTS), 0);
    ck_assert_int_eq(plan.state, VM_RUNNING);
    observed.vmm_answers = false; /* the firewall does not need its answer */
    wanted.state = VM_RUNNING;
    make();
    ck_assert_int_eq(position(VM_OP_SET_PORTS), 0);
    wanted.state = VM_STARTING;
    make();
    ck_assert_int_eq(position(VM_OP_SET_PORTS), -1);
    wanted.desired = VM_WANT_STOPPED;
    make();
    ck_assert_int_eq(position(VM_OP_SET_PORTS), -1);
}
END_TEST

START_TEST(pause_and_resume)
{
    set_running();
    wanted.desired = VM_WANT_PAUSED;
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_PAUSE_VMM);
    observed.vmm_state = VMM_STATE_PAUSED;
    make();
    ck_assert_uint_eq(plan.count, 0);
    ck_assert_int_eq(plan.state, VM_PAUSED);
    wanted.desired = VM_WANT_RUNNING;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_RESUME_VMM);
}
END_TEST

START_TEST(stop_asks_waits_and_forces)
{
    set_running();
    wanted.desired = VM_WANT_STOPPED;
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_SHUTDOWN_GUEST);
    ck_assert_int_eq(plan.state, VM_STOPPING);
    wanted.shutdown_sent_ms = wanted.now_ms;
    wanted.shutdown_last_ms = wanted.now_ms;
    wanted.now_ms += 1999;
    make();
    ck_assert_uint_eq(plan.count, 0);
    ck_assert_int_eq(plan.look_again_ms, 102000);
    wanted.now_ms += 1; /* once more, for a guest that was not listening yet */
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_SHUTDOWN_GUEST);
    ck_assert_int_eq(plan.look_again_ms, 104000);
    wanted.now_ms += 2999;
    wanted.shutdown_last_ms = wanted.now_ms;
    make();
    ck_assert_uint_eq(plan.count, 0);
    ck_assert_int_eq(plan.look_again_ms, 105000);
    wanted.now_ms += 1;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    ck_assert(plan.forced);
}
END_TEST

START_TEST(kill_does_not_ask)
{
    set_running();
    wanted.desired = VM_WANT_STOPPED;
    wanted.stop_timeout_ms = 0;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    ck_assert(!plan.forced);
}
END_TEST

START_TEST(paused_or_hung_guest_is_not_asked)
{
    set_running();
    wanted.desired = VM_WANT_STOPPED;
    observed.vmm_state = VMM_STATE_PAUSED;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    observed.vmm_answers = false;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
}
END_TEST

START_TEST(stopped_is_torn_down_in_order)
{
    set_running();
    wanted.desired = VM_WANT_STOPPED;
    observed.process_alive = false;
    observed.cgroup_present = true;
    make();
    ck_assert_int_eq(plan.state, VM_STOPPED);
    ck_assert_int_ge(position(VM_OP_REMOVE_TAPS), 0);
    ck_assert_int_gt(position(VM_OP_REMOVE_GUEST), position(VM_OP_REMOVE_TAPS));
    ck_assert_int_ge(position(VM_OP_UNSTAGE_DRIVES), 0);
    ck_assert_int_ge(position(VM_OP_REMOVE_CGROUP), 0);
    ck_assert_int_eq(position(VM_OP_FORGET), -1);
}
END_TEST

START_TEST(a_vmm_that_outlives_its_guest_is_buried)
{
    const enum vm_desired all[] = {VM_WANT_RUNNING, VM_WANT_STOPPED, VM_WANT_PAUSED};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        set_running();
        observed.vmm_answers = false;
        observed.guest_gone = true;
        wanted.desired = all[i];
        make();
        ck_assert_int_eq(plan.state, VM_STOPPING);
        ck_assert_uint_eq(plan.count, 1);
        ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
        ck_assert(!plan.forced);
    }
}
END_TEST

START_TEST(reboot_replaces_the_process)
{
    set_running();
    wanted.boot_wanted = 2;
    make();
    ck_assert_int_eq(plan.ops[0].type, VM_OP_SHUTDOWN_GUEST);
    observed.process_alive = false;
    make();
    ck_assert_int_ge(position(VM_OP_SPAWN_VMM), 0);
}
END_TEST

START_TEST(ended_by_itself_is_not_started_again)
{
    set_running();
    observed.process_alive = false;
    make();
    ck_assert(plan.ended_by_itself);
    ck_assert_int_eq(position(VM_OP_SPAWN_VMM), -1);
    ck_assert_int_eq(plan.ops[plan.count - 1].type, VM_OP_GIVE_UP_RUNNING);
}
END_TEST

START_TEST(restarts_by_policy_and_reason)
{
    /* A row for each policy: which reasons lead to another boot. */
    static const bool wants[VM_RESTART_POLICY_COUNT_][EXIT_REASON_COUNT_] = {
        [VM_RESTART_NEVER] = {[EXIT_GUEST_REBOOT] = true},
        [VM_RESTART_ON_FAILURE] = {[EXIT_GUEST_REBOOT] = true,
                                   [EXIT_GUEST_PANIC] = true,
                                   [EXIT_OUT_OF_MEMORY] = true,
                                   [EXIT_VMM_CRASH] = true,
                                   [EXIT_KILLED] = true,
                                   [EXIT_HOST_REBOOT] = true,
                                   [EXIT_UNKNOWN] = true},
        [VM_RESTART_ALWAYS] = {[EXIT_GUEST_REBOOT] = true,
                               [EXIT_GUEST_PANIC] = true,
                               [EXIT_OUT_OF_MEMORY] = true,
                               [EXIT_VMM_CRASH] = true,
                               [EXIT_KILLED] = true,
                               [EXIT_HOST_REBOOT] = true,
                               [EXIT_UNKNOWN] = true,
                               [EXIT_GUEST_SHUTDOWN] = true},
    };
    for (int policy = 0; policy < VM_RESTART_POLICY_COUNT_; policy++) {
        for (int reason = 0; reason < EXIT_REASON_COUNT_; reason++) {
            setup();
            set_running();
            observed.process_alive = false;
            wanted.restart_policy = (enum vm_restart_policy)policy;
            wanted.exit_reason = (enum exit_reason)reason;
            make();
            bool wants_it = wants[policy][reason];
            ck_assert_int_eq(position(VM_OP_WANT_RESTART) >= 0, wants_it);
            ck_assert_int_eq(position(VM_OP_GIVE_UP_RUNNING) >= 0, !wants_it);
            ck_assert_int_eq(plan.ended_by_itself, !wants_it);
            ck_assert_int_eq(plan.restart.boot, wants_it ? 2 : 0);
            ck_assert_int_eq(position(VM_OP_SPAWN_VMM), -1);
            ck_assert_int_eq(plan.state, wants_it ? VM_STARTING : VM_STOPPED);
            wanted.desired = VM_WANT_STOPPED; /* whatever the policy, a stop is one */
            make();
            ck_assert_int_eq(position(VM_OP_WANT_RESTART), -1);
        }
    }
}
END_TEST

START_TEST(pauses_grow_and_begin_anew)
{
    static const int64_t failures_s[] = {1, 2, 4, 8, 16, 32, 60, 60};
    static const int64_t reboots_s[] = {0, 1, 2, 4, 8, 16, 32, 60};
    for (int64_t streak = 1; streak <= 8; streak++) {
        ck_assert_int_eq(restart_delay_ms(streak, false), failures_s[streak - 1] * 1000);
        ck_assert_int_eq(restart_delay_ms(streak, true), reboots_s[streak - 1] * 1000);
    }
    ck_assert_int_eq(restart_delay_ms(INT64_MAX, false), RESTART_DELAY_MAX_MS);
    ck_assert_int_eq(restart_streak(INT64_C(7), RESTART_RESET_MS - 1), 8);
    ck_assert_int_eq(restart_streak(INT64_C(7), RESTART_RESET_MS), 1);
    set_running();
    observed.process_alive = false;
    wanted.restart_policy = VM_RESTART_ALWAYS;
    wanted.exit_reason = EXIT_VMM_CRASH;
    wanted.restart_streak = 5; /* of an earlier boot: this one a client asked for */
    make();
    ck_assert_int_eq(plan.restart.streak, 1);
    wanted.boot_is_restart = true;
    make();
    ck_assert_int_eq(plan.restart.streak, 6);
    ck_assert_int_eq(plan.restart.due_ms, wanted.now_ms + 32000);
}
END_TEST

START_TEST(a_pause_before_a_restart)
{
    set_running();
    observed.process_alive = false;
    wanted.boot_wanted = 2;
    wanted.boot_is_restart = true;
    wanted.restart_due_ms = wanted.now_ms + 4000;
    make();
    ck_assert_int_eq(plan.state, VM_STARTING);
    ck_assert_int_eq(plan.look_again_ms, wanted.restart_due_ms);
    ck_assert_int_eq(position(VM_OP_SPAWN_VMM), -1);
    ck_assert_int_ge(position(VM_OP_REMOVE_TAPS), 0);
    ck_assert_int_ge(position(VM_OP_UNSTAGE_DRIVES), 0);
    wanted.restart_keeps_drives = true;
    make();
    ck_assert_int_eq(position(VM_OP_UNSTAGE_DRIVES), -1);
    wanted.restart_due_ms = wanted.now_ms;
    make();
    ck_assert_int_ge(position(VM_OP_SPAWN_VMM), 0);
    wanted.restart_due_ms = wanted.now_ms + 61000; /* of the clock before the host's reboot */
    make();
    ck_assert_int_ge(position(VM_OP_SPAWN_VMM), 0);
    wanted.restart_due_ms = wanted.now_ms + 4000;
    wanted.boot_is_restart = false; /* a client wants it now */
    make();
    ck_assert_int_ge(position(VM_OP_SPAWN_VMM), 0);
    wanted.boot_is_restart = true;
    wanted.desired = VM_WANT_STOPPED;
    make();
    ck_assert_int_eq(plan.state, VM_STOPPED);
    ck_assert_int_ge(position(VM_OP_UNSTAGE_DRIVES), 0);
}
END_TEST

START_TEST(the_first_reboot_keeps_what_is_there)
{
    set_running();
    observed.process_alive = false;
    wanted.exit_reason = EXIT_GUEST_REBOOT;
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_WANT_RESTART);
    ck_assert(plan.restart.keeps_drives);
    ck_assert_int_eq(plan.restart.due_ms, 0);
    wanted.boot_is_restart = true; /* in a loop */
    wanted.restart_streak = 1;
    make();
    ck_assert_int_eq(plan.restart.due_ms, wanted.now_ms + 1000);
    ck_assert_int_ge(position(VM_OP_REMOVE_TAPS), 0);
    ck_assert_int_eq(position(VM_OP_UNSTAGE_DRIVES), -1);
}
END_TEST

START_TEST(a_restart_that_fails_is_tried_again)
{
    set_running();
    observed.process_alive = false;
    wanted.start_failed = true;
    wanted.restart_policy = VM_RESTART_ALWAYS;
    make();
    ck_assert_int_eq(plan.state, VM_FAILED); /* a client's own start is tried once */
    wanted.boot_is_restart = true;
    wanted.restart_streak = 3;
    make();
    ck_assert_int_ge(position(VM_OP_WANT_RESTART), 0);
    ck_assert_int_eq(plan.restart.streak, 4);
    wanted.restart_policy = VM_RESTART_NEVER;
    make();
    ck_assert_int_eq(plan.state, VM_FAILED);
}
END_TEST

START_TEST(a_vm_that_ended_with_the_daemon_is_still_wanted)
{
    set_running();
    observed.process_alive = false;
    wanted.was_running = false;
    make();
    ck_assert_int_ge(position(VM_OP_GIVE_UP_RUNNING), 0);
    wanted.restart_policy = VM_RESTART_ON_FAILURE;
    make();
    ck_assert_int_ge(position(VM_OP_WANT_RESTART), 0);
}
END_TEST

START_TEST(a_halted_guest_is_buried_after_a_moment)
{
    set_running();
    observed.guest_halted_ms = wanted.now_ms - VM_HALT_GRACE_MS + 1;
    make();
    ck_assert_uint_eq(plan.count, 0);
    ck_assert_int_eq(plan.look_again_ms, wanted.now_ms + 1);
    observed.guest_halted_ms--;
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    ck_assert(plan.guest_gone);
    ck_assert(!plan.forced);
}
END_TEST

START_TEST(host_reboot)
{
    set_running();
    memset(&observed, 0, sizeof observed);
    observed.host_rebooted = true;
    make();
    ck_assert_int_eq(position(VM_OP_SPAWN_VMM), -1);
    wanted.autostart = true;
    make();
    ck_assert_int_ge(position(VM_OP_SPAWN_VMM), 0);
}
END_TEST

START_TEST(failed_start_is_cleaned_up)
{
    set_running();
    wanted.start_failed = true;
    make();
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    observed.process_alive = false;
    make();
    ck_assert_int_eq(plan.state, VM_FAILED);
    ck_assert_int_eq(position(VM_OP_SPAWN_VMM), -1);
    ck_assert_int_ge(position(VM_OP_REMOVE_TAPS), 0);
}
END_TEST

START_TEST(delete_removes_everything)
{
    set_running();
    wanted.deleting = true;
    make();
    ck_assert_int_eq(plan.state, VM_DELETING);
    ck_assert_uint_eq(plan.count, 1);
    ck_assert_int_eq(plan.ops[0].type, VM_OP_KILL_VMM);
    observed.process_alive = false;
    observed.cgroup_present = true;
    make();
    ck_assert_int_ge(position(VM_OP_REMOVE_CGROUP), 0);
    ck_assert_int_ge(position(VM_OP_REMOVE_RUN_DIR), 0);
    ck_assert_int_eq(plan.ops[plan.count - 1].type, VM_OP_FORGET);
}
END_TEST

START_TEST(limits_that_somebody_changed_are_set_again)
{
    set_running();
    make();
    ck_assert_int_eq(position(VM_OP_SET_LIMITS), -1);
    (void)strcpy(observed.limits_found, "memory.max is 1");
    make();
    ck_assert_int_eq(plan.state, VM_RUNNING);
    ck_assert_int_ge(position(VM_OP_SET_LIMITS), 0);
}
END_TEST

/* Bit i of `bits`, and the rest of it for the next one. */
static bool take_bit(unsigned *bits)
{
    bool bit = (*bits & 1U) != 0;
    *bits >>= 1;
    return bit;
}

static void fill(unsigned bits, enum vm_desired desired)
{
    setup();
    wanted.desired = desired;
    wanted.deleting = take_bit(&bits);
    wanted.autostart = take_bit(&bits);
    wanted.start_failed = take_bit(&bits);
    wanted.guest_elements = take_bit(&bits);
    wanted.was_running = take_bit(&bits);
    wanted.boot_done = take_bit(&bits);
    wanted.stop_timeout_ms = take_bit(&bits) ? 0 : 5000;
    wanted.shutdown_sent_ms = take_bit(&bits) ? 1 : -1;
    observed.process_alive = take_bit(&bits);
    observed.process_boot = take_bit(&bits);
    observed.vmm_answers = take_bit(&bits);
    observed.vmm_state = take_bit(&bits) ? VMM_STATE_PAUSED : VMM_STATE_RUNNING;
    observed.tap_present[0] = take_bit(&bits);
    observed.run_dir_present = observed.staged_present = observed.cgroup_present = take_bit(&bits);
    observed.host_rebooted = take_bit(&bits);
    observed.limits_found[0] = take_bit(&bits) ? 'x' : '\0';
}

enum { INPUT_BITS = 16 };

START_TEST(rules_that_always_hold)
{
    for (unsigned bits = 0; bits < 1U << INPUT_BITS; bits++) {
        for (int desired = 0; desired < VM_DESIRED_COUNT_; desired++) {
            fill(bits, (enum vm_desired)desired);
            make();
            ck_assert_uint_le(plan.count, VM_PLAN_OPS_MAX);
            bool spawns = position(VM_OP_SPAWN_VMM) >= 0;
            /* Never a second process, never one for a VM that goes or is wanted stopped. */
            ck_assert(!spawns || (!observed.process_alive && !wanted.deleting && desired != VM_WANT_STOPPED));
            /* No VMM begins without its limits. */
            ck_assert(!spawns || (position(VM_OP_SET_LIMITS) >= 0 && position(VM_OP_SET_LIMITS) < position(VM_OP_SPAWN_VMM)));
            /* A TAP is never up before the firewall knows it, and the firewall forgets it only after the TAP is gone. */
            if (position(VM_OP_CREATE_TAP) >= 0 && spawns) {
                ck_assert_int_lt(position(VM_OP_ADD_GUEST), position(VM_OP_CREATE_TAP));
                ck_assert_int_lt(position(VM_OP_CREATE_TAP), position(VM_OP_SPAWN_VMM));
            }
            if (position(VM_OP_REMOVE_TAPS) >= 0) {
                ck_assert_int_lt(position(VM_OP_REMOVE_TAPS), position(VM_OP_REMOVE_GUEST));
                ck_assert(!observed.process_alive);
            }
            /* Deleting always ends with the row, after everything else. */
            ck_assert((position(VM_OP_FORGET) >= 0) == (wanted.deleting && !observed.process_alive));
            ck_assert(position(VM_OP_FORGET) < 0 || position(VM_OP_FORGET) == (int)plan.count - 1);
            /* A VM that waits says until when. */
            if (plan.state == VM_STOPPING && plan.count == 0) {
                ck_assert_int_gt(plan.look_again_ms, wanted.now_ms);
            }
        }
    }
}
END_TEST

START_TEST(every_operation_has_a_name)
{
    for (int i = 0; i < VM_OP_COUNT_; i++) {
        ck_assert_ptr_nonnull(vm_op_name((enum vm_op_type)i));
        ck_assert_ptr_nonnull(vm_op_description((enum vm_op_type)i));
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(vm_op_name((enum vm_op_type)i), vm_op_name((enum vm_op_type)j));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vm_plan");
    TCase *tcase = tcase_create("plan");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, start_in_order);
    tcase_add_test(tcase, start_without_network_and_paused);
    tcase_add_test(tcase, start_in_another_network);
    tcase_add_test(tcase, running_needs_nothing);
    tcase_add_test(tcase, silence_is_a_failed_start_only_before_the_first_answer);
    tcase_add_test(tcase, a_tap_astray_is_brought_back);
    tcase_add_test(tcase, changed_ports_of_a_running_vm);
    tcase_add_test(tcase, pause_and_resume);
    tcase_add_test(tcase, stop_asks_waits_and_forces);
    tcase_add_test(tcase, kill_does_not_ask);
    tcase_add_test(tcase, paused_or_hung_guest_is_not_asked);
    tcase_add_test(tcase, stopped_is_torn_down_in_order);
    tcase_add_test(tcase, a_vmm_that_outlives_its_guest_is_buried);
    tcase_add_test(tcase, reboot_replaces_the_process);
    tcase_add_test(tcase, ended_by_itself_is_not_started_again);
    tcase_add_test(tcase, restarts_by_policy_and_reason);
    tcase_add_test(tcase, pauses_grow_and_begin_anew);
    tcase_add_test(tcase, a_pause_before_a_restart);
    tcase_add_test(tcase, the_first_reboot_keeps_what_is_there);
    tcase_add_test(tcase, a_restart_that_fails_is_tried_again);
    tcase_add_test(tcase, a_vm_that_ended_with_the_daemon_is_still_wanted);
    tcase_add_test(tcase, a_halted_guest_is_buried_after_a_moment);
    tcase_add_test(tcase, host_reboot);
    tcase_add_test(tcase, failed_start_is_cleaned_up);
    tcase_add_test(tcase, delete_removes_everything);
    tcase_add_test(tcase, limits_that_somebody_changed_are_set_again);
    tcase_add_test(tcase, rules_that_always_hold);
    tcase_add_test(tcase, every_operation_has_a_name);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
