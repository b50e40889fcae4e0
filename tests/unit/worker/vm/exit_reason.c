/* Why a VMM ended: every case, and what the guest's kernel said last. */
#include "worker/vm/exit_reason.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXITED_0 = 0, EXITED_1 = 1 << 8, NOT_KNOWN = -1 };

static const struct {
    const char *what;
    struct exit_facts facts;
    enum exit_reason reason;
} cases[] = {
    {"a clean end of which nothing is said", {.status = EXITED_0, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_SHUTDOWN},
    {"the same of a VMM that tells of shutdowns", {.status = EXITED_0, .quiet_end = VMM_CAUSE_GUEST_RESET}, EXIT_GUEST_REBOOT},
    {"a reboot by its words", {.status = EXITED_0, .words = GUEST_END_REBOOT, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_REBOOT},
    {"a shutdown by its words", {.status = EXITED_0, .words = GUEST_END_OFF, .quiet_end = VMM_CAUSE_GUEST_RESET}, EXIT_GUEST_SHUTDOWN},
    {"a halt by its words", {.status = EXITED_0, .words = GUEST_END_HALT}, EXIT_GUEST_SHUTDOWN},
    {"a panic by its words, and a clean end", {.status = EXITED_0, .words = GUEST_END_PANIC, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_PANIC},
    {"the VMM says shutdown, the guest says reboot", {.status = EXITED_0, .cause = VMM_CAUSE_GUEST_SHUTDOWN, .words = GUEST_END_REBOOT}, EXIT_GUEST_SHUTDOWN},
    {"the VMM says reset, the guest says power down", {.status = EXITED_0, .cause = VMM_CAUSE_GUEST_RESET, .words = GUEST_END_OFF}, EXIT_GUEST_REBOOT},
    {"the VMM says reset, the guest panicked", {.status = EXITED_0, .cause = VMM_CAUSE_GUEST_RESET, .words = GUEST_END_PANIC}, EXIT_GUEST_PANIC},
    {"the VMM says panic", {.status = EXITED_0, .cause = VMM_CAUSE_GUEST_PANIC}, EXIT_GUEST_PANIC},
    {"asked, and a clean end", {.status = EXITED_0, .asked = true, .words = GUEST_END_REBOOT}, EXIT_ASKED},
    {"asked, and killed", {.status = SIGKILL, .asked = true}, EXIT_ASKED},
    {"asked, and nobody knows", {.status = NOT_KNOWN, .asked = true}, EXIT_ASKED},
    {"asked, and crashed", {.status = SIGSEGV | 0x80, .asked = true}, EXIT_VMM_CRASH},
    {"asked, and out of memory", {.status = SIGKILL, .asked = true, .out_of_memory = true}, EXIT_OUT_OF_MEMORY},
    {"killed by somebody else", {.status = SIGKILL}, EXIT_KILLED},
    {"terminated by somebody else", {.status = SIGTERM}, EXIT_KILLED},
    {"the same, and QEMU ends cleanly", {.status = EXITED_0, .cause = VMM_CAUSE_HOST_SIGNAL, .quiet_end = VMM_CAUSE_GUEST_RESET}, EXIT_KILLED},
    {"out of memory", {.status = SIGKILL, .out_of_memory = true}, EXIT_OUT_OF_MEMORY},
    {"out of memory, and nobody knows more", {.status = NOT_KNOWN, .out_of_memory = true}, EXIT_OUT_OF_MEMORY},
    {"out of memory once, and a clean end", {.status = EXITED_0, .out_of_memory = true, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_SHUTDOWN},
    {"a fault", {.status = SIGSEGV}, EXIT_VMM_CRASH},
    {"a fault, with a core", {.status = SIGABRT | 0x80}, EXIT_VMM_CRASH},
    {"a system call that is not allowed", {.status = SIGSYS}, EXIT_VMM_CRASH},
    {"a fault that the VMM caught", {.status = 150 << 8, .caught_signal = SIGSEGV}, EXIT_VMM_CRASH},
    {"a hangup that the VMM caught", {.status = 156 << 8, .caught_signal = SIGHUP}, EXIT_KILLED},
    {"a failure", {.status = EXITED_1, .words = GUEST_END_REBOOT}, EXIT_VMM_CRASH},
    {"asked, and a failure", {.status = EXITED_1, .asked = true}, EXIT_VMM_CRASH},
    {"the host's error", {.status = EXITED_0, .cause = VMM_CAUSE_HOST_ERROR}, EXIT_VMM_CRASH},
    {"a guest that ended, and its VMM was buried", {.status = SIGKILL, .guest_gone = true, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_SHUTDOWN},
    {"the same after a panic", {.status = SIGKILL, .guest_gone = true, .words = GUEST_END_PANIC}, EXIT_GUEST_PANIC},
    {"the same, and it was asked to", {.status = SIGKILL, .guest_gone = true, .asked = true}, EXIT_ASKED},
    {"the host was started anew", {.status = NOT_KNOWN, .host_rebooted = true, .asked = true}, EXIT_HOST_REBOOT},
    {"nobody knows", {.status = NOT_KNOWN, .quiet_end = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_UNKNOWN},
    {"nobody knows, but the guest panicked", {.status = NOT_KNOWN, .words = GUEST_END_PANIC}, EXIT_GUEST_PANIC},
    {"nobody knows, but the guest said that it reboots", {.status = NOT_KNOWN, .words = GUEST_END_REBOOT}, EXIT_GUEST_REBOOT},
    {"nobody knows but the VMM", {.status = NOT_KNOWN, .cause = VMM_CAUSE_GUEST_SHUTDOWN}, EXIT_GUEST_SHUTDOWN},
};

START_TEST(a_case)
{
    enum exit_reason found = exit_reason_decide(&cases[_i].facts);
    ck_assert_msg(found == cases[_i].reason, "%s: %s, not %s", cases[_i].what, exit_reason_name(found), exit_reason_name(cases[_i].reason));
}
END_TEST

START_TEST(names_differ)
{
    for (int i = 0; i < EXIT_REASON_COUNT_; i++) {
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(exit_reason_name((enum exit_reason)i), exit_reason_name((enum exit_reason)k));
        }
    }
}
END_TEST

static enum guest_end find(const char *text, char line[GUEST_LINE_MAX])
{
    return guest_end_find(text, strlen(text), line);
}

START_TEST(each_words_are_found)
{
    for (const struct guest_end_words *entry = guest_end_words; entry->words != NULL; entry++) {
        char text[256];
        char line[GUEST_LINE_MAX];
        (void)snprintf(text, sizeof text, "before\r\n[    6.901526] %s\r\n", entry->words);
        ck_assert_int_eq(find(text, line), entry->end);
        ck_assert_str_eq(line, entry->words);
        ck_assert_int_eq(guest_end_is_halt(text, strlen(text)), entry->end == GUEST_END_OFF || entry->end == GUEST_END_HALT);
        (void)snprintf(text, sizeof text, "before\r\n[    6.901526] %s\r\n~ # ", entry->words);
        ck_assert(!guest_end_is_halt(text, strlen(text)));
        ck_assert_int_eq(guest_end_find(entry->words, strlen(entry->words) - 1, line), GUEST_END_NONE);
    }
}
END_TEST

START_TEST(the_last_words_count)
{
    char line[GUEST_LINE_MAX];
    ck_assert_int_eq(find("", line), GUEST_END_NONE);
    ck_assert_str_eq(line, "");
    ck_assert_int_eq(find("Kernel panic - not syncing: one\nreboot: Restarting system\n", line), GUEST_END_REBOOT);
    ck_assert_int_eq(find("reboot: Restarting system\nKernel panic - not syncing: two\n", line), GUEST_END_PANIC);
    ck_assert_str_eq(line, "Kernel panic - not syncing: two");
}
END_TEST

START_TEST(a_panic_is_told_by_its_first_line)
{
    char line[GUEST_LINE_MAX];
    ck_assert_int_eq(
        find("[ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\nCPU: 0\r\n---[ end Kernel panic - not syncing: again ]---\r\n",
             line),
        GUEST_END_PANIC);
    ck_assert_str_eq(line, "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100");
}
END_TEST

START_TEST(a_line_is_bounded_and_printable)
{
    char text[512] = "Kernel panic - not syncing: \x1b[31m";
    char line[GUEST_LINE_MAX];
    memset(text + strlen(text), 'x', 300);
    ck_assert_int_eq(find(text, line), GUEST_END_PANIC);
    ck_assert_uint_eq(strlen(line), GUEST_LINE_MAX - 1);
    ck_assert_ptr_null(strchr(line, '\x1b'));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exit_reason");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, a_case, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tcase, names_differ);
    tcase_add_test(tcase, each_words_are_found);
    tcase_add_test(tcase, the_last_words_count);
    tcase_add_test(tcase, a_panic_is_told_by_its_first_line);
    tcase_add_test(tcase, a_line_is_bounded_and_printable);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
