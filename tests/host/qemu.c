/* The real QEMU without KVM, driven as the daemon drives it, with the tiny guest. */
#include "tests/guest/tiny_guest.h"

#include "host/vmm/qemu.h"

#include <sched.h>
#include <sys/wait.h>

static struct tiny t;

static void begin(const char *mode)
{
    tiny_begin(&t, VMM_QEMU, VMM_ACCEL_TCG, mode);
}

static void init(const char *mode)
{
    tiny_init(&t, VMM_QEMU, VMM_ACCEL_TCG, mode);
}

START_TEST(boots_and_answers)
{
    begin("halt");
    tiny_expect(&t, "tiny: up\n");
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    ck_assert_str_eq(tiny_said(&t), "");
    tiny_end(&t);
}
END_TEST

START_TEST(pauses_and_resumes)
{
    begin("halt");
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
        ck_assert_int_eq(t.driver->pause(VMM_PEER_UNJAILED(t.dir), 5000, NULL), 0);
        ck_assert_int_eq(tiny_state(&t), VMM_STATE_PAUSED);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(t.driver->resume(VMM_PEER_UNJAILED(t.dir), 5000, NULL), 0);
        ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    }
    tiny_end(&t);
}
END_TEST

START_TEST(ends_upon_ctrl_alt_del)
{
    begin("ctrlaltdel");
    tiny_expect(&t, "waiting for ctrl-alt-del\n");
    ck_assert_int_eq(t.driver->shutdown(VMM_PEER_UNJAILED(t.dir), 5000, NULL), 0);
    tiny_expect(&t, "tiny: ctrl-alt-del\n");
    int status = tiny_ended(&t);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    tiny_end(&t);
}
END_TEST

START_TEST(a_reset_ends_it)
{
    static const char *const modes[] = {"reset", "triple"};
    begin(modes[_i]);
    tiny_expect(&t, "tiny: up\n");
    int status = tiny_ended(&t);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    tiny_end(&t);
}
END_TEST

START_TEST(console_input_arrives)
{
    static const char text[] = "hello, this is more than the sixteen bytes of a serial port's buffer\n";
    begin("echo");
    tiny_expect(&t, "tiny: up\n");
    ck_assert_int_eq((int)write(t.input, text, strlen(text)), (int)strlen(text));
    tiny_expect(&t, text);
    tiny_end(&t);
}
END_TEST

/* Nobody reads: QEMU goes on answering, and then the console goes on. */
START_TEST(a_flood_does_no_harm)
{
    begin("flood");
    tiny_fills_console(&t);
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    ck_assert_str_eq(tiny_said(&t), "");
    ck_assert_int_eq(t.driver->pause(VMM_PEER_UNJAILED(t.dir), 5000, NULL), 0);
    ck_assert_int_eq(t.driver->resume(VMM_PEER_UNJAILED(t.dir), 5000, NULL), 0);
    tiny_expect(&t, "tiny: flood 0123456789abcdefghijklmnopqrstuvwxyz\n");
    const size_t enough = 204800; /* several times what the FIFO holds */
    char bytes[4096];
    size_t read_on = 0;
    int64_t deadline = clock_monotonic_ms() + TINY_TIMEOUT_MS;
    while (read_on < enough && clock_monotonic_ms() < deadline) {
        struct pollfd p = {.fd = t.console, .events = POLLIN};
        ssize_t n = poll(&p, 1, 1000) > 0 ? read(t.console, bytes, sizeof bytes) : 0;
        read_on += n > 0 ? (size_t)n : 0;
    }
    ck_assert_uint_ge(read_on, enough);
    tiny_end(&t);
}
END_TEST

static void expect_failure(const char *words)
{
    tiny_start(&t);
    int status = tiny_ended(&t);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    const char *said = tiny_last_words(&t);
    ck_assert_msg(strstr(said, words) != NULL, "\"%s\" is not in \"%s\"", words, said);
    ck_assert_msg(strncmp(said, "qemu", 4) != 0, "%s", said);
    tiny_end(&t);
}

START_TEST(says_why_it_does_not_start)
{
    init("halt");
    t.spec.kernel = "/nonesuch";
    expect_failure("/nonesuch");
    init("halt");
    struct vmm_drive drive = {"d", "/none,such", true, true};
    t.spec.drives = &drive;
    t.spec.drive_count = 1;
    expect_failure("Could not open '/none,such'"); /* and nothing behind the comma became an option */
}
END_TEST

START_TEST(takes_all_devices)
{
    struct tiny_devices devices;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    init("halt");
    tiny_add_devices(&t, &devices);
    t.spec.vcpu_count = 2;
    tiny_start(&t);
    tiny_expect(&t, "tiny: up\n");
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    tiny_end(&t);
    tiny_remove_devices(&devices);
}
END_TEST

/* As the guest sees it: what the daemon and the VMM give stands before what init gets. */
START_TEST(the_command_line)
{
    struct tiny_devices devices;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    init("args");
    tiny_add_devices(&t, &devices);
    tiny_compose(&t, "tiny=args x=\"a b\" -- root=/dev/no single");
    tiny_start(&t);
    tiny_expect(&t, " -- root=/dev/no single\n");
    const char *separator = strstr(t.seen, " -- ");
    const char *root = strstr(t.seen, " root=/dev/vda rw ");
    ck_assert_msg(root != NULL && root < separator, "%s", t.seen);
    ck_assert_ptr_null(strstr(separator + 4, " -- "));
    ck_assert_ptr_null(strstr(separator, "virtio_mmio"));
    ck_assert_uint_le(strlen(strstr(t.seen, "console=")),
                      strlen(t.boot_args) + t.driver->args->added_bytes + (2 * TINY_DEVICES + 1) * t.driver->args->device_bytes + 1);
    tiny_end(&t);
    tiny_remove_devices(&devices);
}
END_TEST

/* Wherever PATH finds it: directories of the system are in each jail already, others come with the program. */
START_TEST(a_jail_for_it_wherever_it_lies)
{
    static const char *const binaries[] = {"/usr/bin/qemu", "/bin/qemu", "/sbin/qemu", "/usr/local/sbin/qemu", "/lib/qemu/qemu", "/tmp/qemu"};
    struct error err = {0};
    const struct vmm_jail own = {.uid = 1955555555, .place = "/nonexistent"};
    init("halt");
    t.spec.jail = &own;
    for (size_t i = 0; i < ARRAY_LEN(binaries); i++) {
        AUTO_JAIL jail = JAIL_NONE;
        t.spec.binary = binaries[i];
        ck_assert_msg(qemu_jail(&t.spec, &jail, &err) == 0, "%s: %s", binaries[i], err.message);
    }
    t.process.pidfd = -1; /* nothing was started */
    tiny_end(&t);
}
END_TEST

START_TEST(tells_its_version)
{
    char version[32];
    ck_assert_int_eq(vmm_drivers[VMM_QEMU].version(tiny_binary, version, sizeof version, NULL), 0);
    ck_assert_uint_ge(strspn(version, "0123456789."), 5);
}
END_TEST

int main(void)
{
    if (!tiny_find("qemu-system-x86_64")) {
        return 77;
    }
    Suite *suite = suite_create("qemu");
    TCase *guests = tcase_create("guests");
    tcase_set_timeout(guests, 120);
    tcase_add_test(guests, boots_and_answers);
    tcase_add_test(guests, pauses_and_resumes);
    tcase_add_test(guests, ends_upon_ctrl_alt_del);
    tcase_add_loop_test(guests, a_reset_ends_it, 0, 2);
    tcase_add_test(guests, console_input_arrives);
    tcase_add_test(guests, a_flood_does_no_harm);
    tcase_add_test(guests, says_why_it_does_not_start);
    tcase_add_test(guests, takes_all_devices);
    tcase_add_test(guests, the_command_line);
    tcase_add_test(guests, a_jail_for_it_wherever_it_lies);
    tcase_add_test(guests, tells_its_version);
    suite_add_tcase(suite, guests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    tiny_sweep();
    return failed == 0 ? 0 : 1;
}
