/* The real Firecracker, driven as the daemon drives it, with the tiny guest. Needs root and /dev/kvm, however
 * slow. */
#include "tests/guest/tiny_guest.h"

#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { CROWD = 100 };

static struct tiny t;

static void begin(const char *mode)
{
    tiny_begin(&t, VMM_FIRECRACKER, VMM_ACCEL_KVM, mode);
}

static void init(const char *mode)
{
    tiny_init(&t, VMM_FIRECRACKER, VMM_ACCEL_KVM, mode);
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
    ck_assert_str_eq(tiny_said(&t), "");
    tiny_end(&t);
}
END_TEST

START_TEST(a_deaf_guest_is_reported)
{
    begin("halt");
    tiny_expect(&t, "tiny: up\n");
    struct error err;
    int calls = 0;
    while (calls < 10 && t.driver->shutdown(VMM_PEER_UNJAILED(t.dir), 5000, &err) == 0) {
        calls++;
    }
    ck_assert_int_eq(calls, 4); /* sixteen bytes of buffer, four a time */
    ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "Firecracker: "));
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

START_TEST(a_dead_guest_stays)
{
    begin("die");
    tiny_expect(&t, "Kernel panic - not syncing: tiny\n");
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    tiny_end(&t);
}
END_TEST

START_TEST(an_unknown_mode_is_told)
{
    begin("nonsense");
    tiny_expect(&t, "tiny: unknown mode\n");
    tiny_end(&t);
}
END_TEST

START_TEST(console_input_arrives)
{
    char text[201]; /* more than the FIFO of the serial port */
    begin("echo");
    tiny_expect(&t, "tiny: up\n");
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq((int)write(t.input, text, strlen(text)), (int)strlen(text));
    tiny_expect(&t, text);
    tiny_end(&t);
}
END_TEST

/* Nobody reads: the VMM neither waits nor ends, and its log does not tell of each byte. Then somebody does,
 * and it goes on. */
START_TEST(a_flood_is_dropped)
{
    const size_t fifo = 65536;
    char bytes[4096];
    begin("flood");
    tiny_fills_console(&t);
    ck_assert_int_eq(tiny_state(&t), VMM_STATE_RUNNING);
    ck_assert_str_eq(tiny_said(&t), "");
    size_t kept = 0;
    ssize_t n;
    while ((n = read(t.console, bytes, sizeof bytes)) > 0 && kept < 16 * fifo) { /* it goes on while we read */
        kept += (size_t)n;
    }
    ck_assert_uint_ge(kept, fifo);
    tiny_expect(&t, "tiny: flood 0123456789abcdefghijklmnopqrstuvwxyz\ntiny: flood 0");
    ck_assert(process_is_alive(t.process.pidfd));
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
    ck_assert_msg(strchr(said, '[') == NULL && strstr(said, "exiting") == NULL, "%s", said);
    tiny_end(&t);
}

START_TEST(says_why_it_does_not_start)
{
    init("halt");
    t.spec.kernel = "/nonesuch";
    expect_failure("The kernel file cannot be opened: No such file or directory");
    init("halt");
    t.spec.kernel = "/proc/self/cmdline";
    expect_failure("invalid kernel image");
    init("halt");
    struct vmm_drive drive = {"d", "/nonesuch", true, true};
    t.spec.drives = &drive;
    t.spec.drive_count = 1;
    expect_failure("/nonesuch");
    init("halt");
    t.spec.vcpu_count = 33;
    expect_failure("vCPUs");
}
END_TEST

START_TEST(says_that_a_tap_is_busy)
{
    struct vmm_interface interface = {"eth0", "sv0", {{2, 0, 0, 0, 0, 1}}};
    struct tiny first;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    tiny_init(&first, VMM_FIRECRACKER, VMM_ACCEL_KVM, "halt");
    first.spec.interfaces = &interface;
    first.spec.interface_count = 1;
    tiny_start(&first);
    tiny_expect(&first, "tiny: up\n");
    init("halt");
    t.spec.interfaces = &interface;
    t.spec.interface_count = 1;
    expect_failure("Resource busy");
    tiny_end(&first);
}
END_TEST

START_TEST(a_stale_socket_must_go)
{
    init("halt");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", tiny_path(&t, "api.sock"));
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    expect_failure("Failed to open the API socket");
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
    const char *root = strstr(t.seen, " root=/dev/vda ");
    ck_assert_msg(root != NULL && root < separator, "%s", t.seen);
    ck_assert_ptr_null(strstr(separator + 4, " -- "));
    ck_assert_ptr_null(strstr(separator, "virtio_mmio"));
    ck_assert_uint_le(strlen(strstr(t.seen, "console=")),
                      strlen(t.boot_args) + t.driver->args->added_bytes + (2 * TINY_DEVICES + 1) * t.driver->args->device_bytes + 1);
    tiny_end(&t);
    tiny_remove_devices(&devices);
}
END_TEST

START_TEST(tells_its_version)
{
    char version[32];
    ck_assert_int_eq(vmm_drivers[VMM_FIRECRACKER].version(tiny_binary, version, sizeof version, NULL), 0);
    ck_assert_uint_ge(strspn(version, "0123456789."), 5);
}
END_TEST

/* Many at once, and every one is up, answers, and can be ended. */
START_TEST(a_crowd)
{
    static struct tiny crowd[CROWD];
    int64_t start = clock_monotonic_ms();
    for (int i = 0; i < CROWD; i++) {
        tiny_begin(&crowd[i], VMM_FIRECRACKER, VMM_ACCEL_KVM, "halt");
    }
    for (int i = 0; i < CROWD; i++) {
        tiny_expect(&crowd[i], "tiny: up\n");
    }
    ck_assert_int_lt((int)(clock_monotonic_ms() - start), 20000);
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(tiny_state(&crowd[i]), VMM_STATE_RUNNING);
    }
    for (int i = 0; i < CROWD; i++) {
        tiny_end(&crowd[i]);
    }
}
END_TEST

int main(void)
{
    if (!tiny_find("firecracker")) {
        return 77;
    }
    Suite *suite = suite_create("firecracker");
    TCase *guests = tcase_create("guests");
    tcase_set_timeout(guests, 120);
    tcase_add_test(guests, boots_and_answers);
    tcase_add_test(guests, pauses_and_resumes);
    tcase_add_test(guests, ends_upon_ctrl_alt_del);
    tcase_add_test(guests, a_deaf_guest_is_reported);
    tcase_add_loop_test(guests, a_reset_ends_it, 0, 2);
    tcase_add_test(guests, a_dead_guest_stays);
    tcase_add_test(guests, an_unknown_mode_is_told);
    tcase_add_test(guests, console_input_arrives);
    tcase_add_test(guests, a_flood_is_dropped);
    tcase_add_test(guests, says_why_it_does_not_start);
    tcase_add_test(guests, says_that_a_tap_is_busy);
    tcase_add_test(guests, a_stale_socket_must_go);
    tcase_add_test(guests, takes_all_devices);
    tcase_add_test(guests, the_command_line);
    tcase_add_test(guests, tells_its_version);
    tcase_add_test(guests, a_crowd);
    suite_add_tcase(suite, guests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    tiny_sweep();
    return failed == 0 ? 0 : 1;
}
