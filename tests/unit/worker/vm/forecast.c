/* The whole way of a VM: what the planner's rounds come to, and that they come to an end from everywhere. */
#include "worker/vm/forecast.h"

#include "core/cleanup.h"
#include "worker/vm/restart.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vm_wanted wanted;
static struct vm_observed observed;
static struct vm_forecast forecast;

static void setup(void)
{
    wanted = (struct vm_wanted){
        .desired = VM_WANT_RUNNING, .boot_wanted = 1, .interface_count = 1, .stop_timeout_ms = 5000, .shutdown_sent_ms = -1, .now_ms = 100000};
    memset(&observed, 0, sizeof observed);
}

static void set_running(void)
{
    wanted.boot_done = 1;
    wanted.was_running = true;
    wanted.guest_elements = true;
    wanted.state = VM_RUNNING;
    observed = (struct vm_observed){.process_alive = true,
                                    .process_boot = 1,
                                    .vmm_answers = true,
                                    .vmm_state = VMM_STATE_RUNNING,
                                    .tap_present = {true},
                                    .run_dir_present = true,
                                    .staged_present = true,
                                    .uid_held = true};
}

/* The names, with blanks between them. */
static const char *names(void)
{
    static char text[4096];
    size_t len = 0;
    vm_forecast_make(&wanted, &observed, true, &forecast);
    text[0] = '\0';
    for (size_t i = 0; i < forecast.count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? " " : "", vm_op_name(forecast.ops[i].type));
    }
    return text;
}

#define START    "make_run_dir take_uid stage_drives add_guest create_tap prepare_vmm set_limits spawn_vmm await_vmm"
#define TEARDOWN "remove_taps remove_guest unstage_drives remove_cgroup free_uid"

START_TEST(a_start_is_one_round)
{
    ck_assert_str_eq(names(), START);
    ck_assert_int_eq(forecast.state, VM_RUNNING);
    ck_assert(!forecast.asks_guest);
    wanted.desired = VM_WANT_PAUSED;
    ck_assert_str_eq(names(), START " pause_vmm");
    ck_assert_int_eq(forecast.state, VM_PAUSED);
    set_running();
    wanted.desired = VM_WANT_RUNNING;
    ck_assert_str_eq(names(), "");
    ck_assert_int_eq(forecast.state, VM_RUNNING);
}
END_TEST

START_TEST(a_stop_goes_on_after_the_guest)
{
    set_running();
    wanted.desired = VM_WANT_STOPPED;
    ck_assert_str_eq(names(), "shutdown_guest " TEARDOWN);
    ck_assert_int_eq(forecast.state, VM_STOPPED);
    ck_assert(forecast.asks_guest);
    wanted.stop_timeout_ms = 0;
    ck_assert_str_eq(names(), "kill_vmm " TEARDOWN);
    ck_assert(!forecast.asks_guest);
    wanted.stop_timeout_ms = 5000; /* asked before, and it has its time */
    wanted.shutdown_sent_ms = wanted.shutdown_last_ms = wanted.now_ms - 100;
    ck_assert_str_eq(names(), TEARDOWN);
    ck_assert(forecast.asks_guest);
    vm_forecast_make(&wanted, &observed, false, &forecast); /* without cgroups there is none to be removed */
    ck_assert_uint_eq(forecast.count, 4);
}
END_TEST

START_TEST(a_reboot_is_an_end_and_a_start)
{
    set_running();
    wanted.boot_wanted = 2;
    ck_assert_str_eq(names(), "shutdown_guest " START);
    ck_assert_int_eq(forecast.state, VM_RUNNING);
    observed.vmm_state = VMM_STATE_PAUSED;
    ck_assert_str_eq(names(), "kill_vmm " START);
}
END_TEST

START_TEST(a_deletion_ends_with_nothing)
{
    set_running();
    wanted.deleting = true;
    ck_assert_str_eq(names(), "kill_vmm " TEARDOWN " remove_run_dir forget");
    setup();
    wanted.deleting = true;
    ck_assert_str_eq(names(), "forget");
}
END_TEST

START_TEST(a_pause_before_a_restart_is_where_it_ends)
{
    set_running();
    observed = (struct vm_observed){.run_dir_present = true, .tap_present = {true}, .staged_present = true};
    wanted.restart_policy = VM_RESTART_ALWAYS;
    wanted.exit_reason = EXIT_KILLED;
    ck_assert_str_eq(names(), "remove_taps remove_guest unstage_drives want_restart");
    ck_assert_int_gt(forecast.restart_due_ms, wanted.now_ms);
    wanted.restart_policy = VM_RESTART_NEVER;
    ck_assert_str_eq(names(), "remove_taps remove_guest unstage_drives give_up_running");
    ck_assert_int_eq(forecast.restart_due_ms, 0);
}
END_TEST

static void choose(unsigned bits)
{
    setup();
    wanted.desired = (enum vm_desired)(bits & 3U);
    wanted.deleting = (bits & 4U) != 0;
    wanted.boot_done = (bits & 8U) != 0 ? 1 : 0;
    wanted.start_failed = (bits & 16U) != 0;
    wanted.guest_elements = (bits & 32U) != 0;
    wanted.ports_changed = (bits & 64U) != 0;
    wanted.state = (enum vm_state)((bits >> 7) % VM_STATE_COUNT_);
    wanted.restart_policy = (enum vm_restart_policy)((bits >> 10) % VM_RESTART_POLICY_COUNT_);
    observed.process_alive = (bits & 4096U) != 0;
    observed.process_boot = (bits & 8192U) != 0 ? 1 : 0;
    observed.vmm_answers = (bits & 16384U) != 0;
    observed.vmm_state = (bits & 32768U) != 0 ? VMM_STATE_PAUSED : VMM_STATE_RUNNING;
    observed.tap_present[0] = (bits & 65536U) != 0;
    observed.guest_gone = (bits & 131072U) != 0;
    observed.staged_present = observed.run_dir_present = (bits & 262144U) != 0;
    wanted.readdress = (bits & 524288U) != 0;
}

/* Odd, so that each bit, and each pair of bits, is tried both ways; all of them take most of a minute with sanitizers. */
enum { CHOICES_STEP = 11 };

/* From wherever it begins: an end within the rounds that there are, where the planner has nothing to say any more. */
START_TEST(it_comes_to_an_end)
{
    for (unsigned bits = 0; bits < 1U << 20; bits += CHOICES_STEP) {
        if ((bits & 3U) == 3U) {
            continue;
        }
        choose(bits);
        vm_forecast_make(&wanted, &observed, true, &forecast);
        ck_assert_uint_lt(forecast.count, VM_FORECAST_OPS_MAX / 2);
        if (forecast.restart_due_ms == 0 && !wanted.deleting) {
            bool at_rest = forecast.state == VM_RUNNING || forecast.state == VM_PAUSED || forecast.state == VM_STOPPED || forecast.state == VM_FAILED;
            ck_assert_msg(at_rest, "%x ends as %s", bits, vm_state_name(forecast.state));
        }
        for (size_t i = 0; i < forecast.count; i++) {
            ck_assert(forecast.ops[i].type != VM_OP_FORGET || i == forecast.count - 1);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forecast");
    TCase *tcase = tcase_create("forecast");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_start_is_one_round);
    tcase_add_test(tcase, a_stop_goes_on_after_the_guest);
    tcase_add_test(tcase, a_reboot_is_an_end_and_a_start);
    tcase_add_test(tcase, a_deletion_ends_with_nothing);
    tcase_add_test(tcase, a_pause_before_a_restart_is_where_it_ends);
    tcase_add_test(tcase, it_comes_to_an_end);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
