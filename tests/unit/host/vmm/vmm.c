/* The VMM drivers as pure text: what they write for a VMM, and what they make of its words. */
#include "core/cleanup.h"
#include "host/vmm/common.h"
#include "host/vmm/firecracker.h"
#include "host/vmm/qemu.h"

#include <check.h>
#include <signal.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char dir[64];

static void make_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/vmm-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void remove_dir(void)
{
    static const char *const names[] = {"vmm.json", "program"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(in_dir(names[i]));
    }
    ck_assert_msg(rmdir(dir) == 0, "%s: a file was left behind", dir);
}

static const struct vmm_drive two_drives[] = {
    {.drive_id = "data", .path = "/d/with,comma", .is_root_device = false, .is_read_only = false},
    {.drive_id = "root", .path = "/d/root", .is_root_device = true, .is_read_only = true},
};
static const struct vmm_interface one_interface[] = {
    {.iface_id = "eth0", .tap = "sv0", .mac = {{2, 0, 0, 0, 0, 0xab}}},
};

static struct vmm_spec bare_spec(void)
{
    return (struct vmm_spec){.id = "vm-1",
                             .dir = "/r/vm-1",
                             .binary = "/b/vmm",
                             .accel = VMM_ACCEL_TCG,
                             .kernel = "/k/vmlinux",
                             .boot_args = "quiet \"x\"",
                             .vcpu_count = 2,
                             .mem_size_mib = 256};
}

static struct vmm_spec full_spec(void)
{
    struct vmm_spec spec = bare_spec();
    spec.initrd = "/k/initrd";
    spec.drives = two_drives;
    spec.drive_count = ARRAY_LEN(two_drives);
    spec.interfaces = one_interface;
    spec.interface_count = ARRAY_LEN(one_interface);
    return spec;
}

START_TEST(table_is_complete)
{
    for (int i = 0; i < VMM_KIND_COUNT_; i++) {
        const struct vmm_driver *driver = &vmm_drivers[i];
        ck_assert_int_eq(driver->kind, i);
        ck_assert_ptr_eq(vmm_driver_by_name(driver->name), driver);
        ck_assert(driver->command != NULL && driver->query != NULL && driver->pause != NULL && driver->resume != NULL);
        ck_assert(driver->shutdown != NULL && driver->version != NULL && driver->noise != NULL && driver->lead_ins != NULL);
        ck_assert_str_eq(driver->args->name, driver->name);
        ck_assert_ptr_nonnull(strstr(driver->args->needs, "console=ttyS0"));
    }
    ck_assert_ptr_null(vmm_driver_by_name("auto"));
    ck_assert_ptr_null(vmm_driver_by_name(""));
    ck_assert(vmm_drivers[VMM_QEMU].prepare == NULL && vmm_drivers[VMM_FIRECRACKER].prepare != NULL);
}
END_TEST

START_TEST(firecracker_config_has_it_all)
{
    struct vmm_spec spec = full_spec();
    AUTO_FREE char *text = NULL;
    ck_assert_int_eq(firecracker_config(&spec, &text, NULL), 0);
    ck_assert_str_eq(text, "{\"boot-source\":{\"kernel_image_path\":\"/k/vmlinux\",\"boot_args\":\"quiet \\\"x\\\"\","
                           "\"initrd_path\":\"/k/initrd\"},\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256},"
                           "\"drives\":[{\"drive_id\":\"root\",\"path_on_host\":\"/d/root\",\"is_root_device\":true,"
                           "\"is_read_only\":true},{\"drive_id\":\"data\",\"path_on_host\":\"/d/with,comma\","
                           "\"is_root_device\":false,\"is_read_only\":false}],\"network-interfaces\":[{\"iface_id\":\"eth0\","
                           "\"host_dev_name\":\"sv0\",\"guest_mac\":\"02:00:00:00:00:ab\"}],\"entropy\":{}}");
}
END_TEST

START_TEST(firecracker_config_of_nothing_extra)
{
    struct vmm_spec spec = bare_spec();
    AUTO_FREE char *text = NULL;
    ck_assert_int_eq(firecracker_config(&spec, &text, NULL), 0);
    ck_assert_str_eq(text, "{\"boot-source\":{\"kernel_image_path\":\"/k/vmlinux\",\"boot_args\":\"quiet \\\"x\\\"\"},"
                           "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256},\"drives\":[],"
                           "\"network-interfaces\":[],\"entropy\":{}}");
}
END_TEST

START_TEST(firecracker_config_refuses_what_is_not_utf8)
{
    struct vmm_spec spec = full_spec();
    struct error err;
    char *text = NULL;
    spec.boot_args = "\xff";
    ck_assert_int_eq(firecracker_config(&spec, &text, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    ck_assert_ptr_null(text);
    struct vmm_drive drive = two_drives[0];
    drive.path = "/\xff";
    spec = full_spec();
    spec.drives = &drive;
    spec.drive_count = 1;
    ck_assert_int_eq(firecracker_config(&spec, &text, &err), -1);
    struct vmm_interface interface = one_interface[0];
    interface.iface_id = "\xff";
    spec = full_spec();
    spec.interfaces = &interface;
    ck_assert_int_eq(firecracker_config(&spec, &text, &err), -1);
}
END_TEST

START_TEST(firecracker_prepare_replaces_the_file)
{
    make_dir();
    struct vmm_spec spec = bare_spec();
    struct stat st;
    spec.dir = dir;
    spec.boot_args = "a much longer line than the one that comes after it";
    ck_assert_int_eq(firecracker_prepare(&spec, NULL), 0);
    spec.boot_args = "short";
    ck_assert_int_eq(firecracker_prepare(&spec, NULL), 0);
    AUTO_FREE char *text = NULL;
    ck_assert_int_eq(firecracker_config(&spec, &text, NULL), 0);
    ck_assert_int_eq(stat(in_dir("vmm.json"), &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq((int)st.st_size, (int)strlen(text));
    remove_dir(); /* which also sees that no temporary file is left */
    struct error err;
    ck_assert_int_eq(firecracker_prepare(&spec, &err), -1);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOENT);
}
END_TEST

/* Under emulation the guest is told the rate of its TSC, a plausible one, and then what the caller gave. */
static const char *after_tsc(const char *argument)
{
    static const char name[] = "tsc_early_khz=";
    if (strncmp(argument, name, sizeof name - 1) != 0) {
        return argument;
    }
    char *end = NULL;
    unsigned long khz = strtoul(argument + sizeof name - 1, &end, 10);
    ck_assert_uint_gt(khz, 100000);
    ck_assert_uint_lt(khz, 20000000);
    ck_assert_int_eq(*end, ' ');
    return end + 1;
}

static void check_command(enum vmm_kind kind, const struct vmm_spec *spec, const char *const *wanted)
{
    char **argv = NULL;
    ck_assert_int_eq(vmm_drivers[kind].command(spec, &argv, NULL), 0);
    size_t i = 0;
    for (; wanted[i] != NULL; i++) {
        ck_assert_ptr_nonnull(argv[i]);
        ck_assert_str_eq(after_tsc(argv[i]), wanted[i]);
    }
    ck_assert_ptr_null(argv[i]);
    vmm_argv_free(argv);
}

START_TEST(firecracker_command_line)
{
    static const char *const wanted[] = {
        "/b/vmm", "--id",     "vm-1",        "--api-sock", "/r/vm-1/api.sock", "--config-file", "/r/vm-1/vmm.json", "--log-path", "/r/vm-1/vmm.out", "--level",
        "Error",  "--module", "firecracker", NULL};
    struct vmm_spec spec = full_spec();
    check_command(VMM_FIRECRACKER, &spec, wanted);
}
END_TEST

/* With a jail nothing of the host's paths is in the command line but what the jailer needs itself. */
START_TEST(firecracker_command_line_in_a_jail)
{
    static const char *const wanted[] = {"/b/jailer",  "--id",      "vm-1",          "--exec-file",       "/b/vmm",     "--uid",
                                         "1879048200", "--gid",     "1879048200",    "--chroot-base-dir", "/r/jail",    "--",
                                         "--api-sock", "/api.sock", "--config-file", "/vmm.json",         "--log-path", "/vmm.out",
                                         "--level",    "Error",     "--module",      "firecracker",       NULL};
    const struct vmm_jail jail = {.jailer = "/b/jailer", .place = "/r/jail", .uid = 1879048200};
    struct vmm_spec spec = full_spec();
    spec.jail = &jail;
    check_command(VMM_FIRECRACKER, &spec, wanted);
    AUTO_FREE char *text = NULL;
    ck_assert_int_eq(firecracker_config(&spec, &text, NULL), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"kernel_image_path\":\"/kernel\""));
    ck_assert_ptr_nonnull(strstr(text, "\"initrd_path\":\"/initrd\""));
    ck_assert_ptr_nonnull(strstr(text, "\"path_on_host\":\"/drive-"));
    ck_assert_ptr_null(strstr(text, "/d/"));
    ck_assert_ptr_null(strstr(text, "/k/"));
}
END_TEST

START_TEST(qemu_command_line_in_a_jail)
{
    const struct vmm_jail jail = {.place = "/r/jail", .uid = 1879048200};
    struct vmm_spec spec = full_spec();
    char **argv = NULL;
    spec.jail = &jail;
    ck_assert_int_eq(vmm_drivers[VMM_QEMU].command(&spec, &argv, NULL), 0);
    for (size_t i = 1; argv[i] != NULL; i++) {
        ck_assert_msg(strstr(argv[i], "/r/") == NULL && strstr(argv[i], "/d/") == NULL && strstr(argv[i], "/k/") == NULL, "%s", argv[i]);
    }
    vmm_argv_free(argv);
}
END_TEST

#define QEMU_FIXED \
    "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", \
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-device", "i8042", "-d", "trace:qemu_system_shutdown_request"

START_TEST(qemu_command_line)
{
    static const char *const wanted[] = {"/b/vmm",
                                         "-name",
                                         "vm-1,debug-threads=on",
                                         QEMU_FIXED,
                                         "-qmp",
                                         "unix:/r/vm-1/api.sock,server=on,wait=off",
                                         "-kernel",
                                         "/k/vmlinux",
                                         "-initrd",
                                         "/k/initrd",
                                         "-append",
                                         "quiet \"x\"",
                                         "-M",
                                         "microvm,accel=tcg",
                                         "-cpu",
                                         "max",
                                         "-m",
                                         "256M",
                                         "-smp",
                                         "2",
                                         "-drive",
                                         "file=/d/root,id=drive0,format=raw,if=none,read-only=on",
                                         "-device",
                                         "virtio-blk-device,drive=drive0,werror=report,rerror=report",
                                         "-drive",
                                         "file=/d/with,,comma,id=drive1,format=raw,if=none,read-only=off",
                                         "-device",
                                         "virtio-blk-device,drive=drive1,werror=report,rerror=report",
                                         "-netdev",
                                         "tap,id=net0,ifname=sv0,script=no,downscript=no,vhost=off",
                                         "-device",
                                         "virtio-net-device,netdev=net0,mac=02:00:00:00:00:ab",
                                         "-device",
                                         "virtio-rng-device",
                                         NULL};
    struct vmm_spec spec = full_spec();
    check_command(VMM_QEMU, &spec, wanted);
}
END_TEST

START_TEST(qemu_command_line_of_nothing_extra)
{
    static const char *const wanted[] = {"/b/vmm",
                                         "-name",
                                         "vm-1,debug-threads=on",
                                         QEMU_FIXED,
                                         "-qmp",
                                         "unix:/r/a,,b/api.sock,server=on,wait=off",
                                         "-kernel",
                                         "/k/vmlinux",
                                         "-append",
                                         "quiet \"x\"",
                                         "-M",
                                         "microvm,accel=kvm",
                                         "-cpu",
                                         "host",
                                         "-m",
                                         "256M",
                                         "-smp",
                                         "2",
                                         "-device",
                                         "virtio-rng-device",
                                         NULL};
    struct vmm_spec spec = bare_spec();
    spec.accel = VMM_ACCEL_KVM;
    spec.dir = "/r/a,b";
    check_command(VMM_QEMU, &spec, wanted);
}
END_TEST

START_TEST(socket_paths_have_an_end)
{
    char long_dir[LIMIT_SOCKET_PATH_BYTES];
    struct vmm_spec spec = bare_spec();
    char **argv = NULL;
    struct error err;
    memset(long_dir, 'x', sizeof long_dir);
    long_dir[0] = '/';
    spec.dir = long_dir;
    for (int i = 0; i < VMM_KIND_COUNT_; i++) {
        long_dir[LIMIT_SOCKET_PATH_BYTES - sizeof "/api.sock"] = '\0';
        ck_assert_int_eq(vmm_drivers[i].command(&spec, &argv, &err), 0);
        vmm_argv_free(argv);
        long_dir[LIMIT_SOCKET_PATH_BYTES - sizeof "/api.sock"] = 'x';
        long_dir[LIMIT_SOCKET_PATH_BYTES - sizeof "/api.sock" + 1] = '\0';
        ck_assert_int_eq(vmm_drivers[i].command(&spec, &argv, &err), -1);
        ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    }
}
END_TEST

START_TEST(firecracker_states)
{
    static const struct {
        const char *body;
        int result;
        enum vmm_state state;
    } cases[] = {
        {"{\"id\":\"x\",\"state\":\"Running\",\"vmm_version\":\"1.12.1\"}", 0, VMM_STATE_RUNNING},
        {"{\"state\":\"Paused\"}", 0, VMM_STATE_PAUSED},
        {"{\"state\":\"Not started\"}", 0, VMM_STATE_STARTING},
        {"{\"state\":\"running\"}", -1, 0},
        {"{\"state\":7}", -1, 0},
        {"{}", -1, 0},
        {"[]", -1, 0},
        {"", -1, 0},
        {"{\"state\":\"Running\"", -1, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum vmm_state state;
        struct error err = {.code = ERR_INTERNAL};
        int result = firecracker_parse_instance(cases[i].body, strlen(cases[i].body), &state, &err);
        ck_assert_msg(result == cases[i].result, "%s", cases[i].body);
        ck_assert(result == 0 ? state == cases[i].state : err.code == ERR_VMM_FAILED);
    }
}
END_TEST

START_TEST(firecracker_faults)
{
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{\"fault_message\":\"Nope.\"}", "Firecracker: Nope."},
        {"{\"fault_message\":7}", "Firecracker answered with HTTP status 400"},
        {"", "Firecracker answered with HTTP status 400"},
        {"<html>", "Firecracker answered with HTTP status 400"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        ck_assert_int_eq(firecracker_fault(400, cases[i].body, strlen(cases[i].body), &err), -1);
        ck_assert_int_eq(err.code, ERR_VMM_FAILED);
        ck_assert_str_eq(err.message, cases[i].words);
    }
}
END_TEST

START_TEST(qemu_states)
{
    enum vmm_state state;
    struct error err;
    ck_assert_int_eq(qemu_parse_status("running", &state, &err), 0);
    ck_assert_int_eq(state, VMM_STATE_RUNNING);
    ck_assert_int_eq(qemu_parse_status("paused", &state, &err), 0);
    ck_assert_int_eq(state, VMM_STATE_PAUSED);
    ck_assert_int_eq(qemu_parse_status("prelaunch", &state, &err), 0);
    ck_assert_int_eq(state, VMM_STATE_STARTING);
    ck_assert_int_eq(qemu_parse_status("internal-error", &state, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "internal-error"));
    ck_assert_int_eq(qemu_parse_status(NULL, &state, &err), -1);
}
END_TEST

START_TEST(versions)
{
    static const struct {
        const char *output, *lead_in, *version;
    } cases[] = {
        {"Firecracker v1.12.1\n\n2026-11-23T22:30 [x:main] exit_code=0\n", "Firecracker v", "1.12.1"},
        {"QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright", "QEMU emulator version ", "7.2.22"},
        {"Firecracker v1.13.0-dev", "Firecracker v", "1.13.0"},
        {"Firecracker vX", "Firecracker v", NULL},
        {"Firecracker v123456789012345", "Firecracker v", "123456789012345"},
        {"Firecracker v1234567890123456", "Firecracker v", NULL}, /* does not fit */
        {"", "Firecracker v", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char version[16];
        bool ok = vmm_parse_version(cases[i].output, cases[i].lead_in, version, sizeof version);
        ck_assert_msg(ok == (cases[i].version != NULL), "%s", cases[i].output);
        if (ok) {
            ck_assert_str_eq(version, cases[i].version);
        }
    }
}
END_TEST

START_TEST(last_words)
{
    static const struct {
        enum vmm_kind kind;
        const char *output, *words;
    } cases[] = {
        {VMM_FIRECRACKER,
         "2026-11-23T22:37:49.03 [x:main] RunWithApiError error: Kernel: [a] nope\nError: "
         "RunWithApi(Kernel(Nope))\n"
         "2026-11-23T22:37:49.04 [x:main] Firecracker exiting with error. exit_code=1\n",
         "Kernel: [a] nope"},
        {VMM_FIRECRACKER, "Error: ParseArguments(UnexpectedArgument(\"nope\"))\n", "ParseArguments(UnexpectedArgument(\"nope\"))"},
        {VMM_FIRECRACKER, "first\nlast, without an end", "last, without an end"},
        {VMM_FIRECRACKER, "a panic\nnote: run with RUST_BACKTRACE=1\n\n\n", "a panic"},
        {VMM_FIRECRACKER, "", ""},
        {VMM_FIRECRACKER, "\n\n", ""},
        {VMM_FIRECRACKER, "2026 no stamp\n", "2026 no stamp"},
        {VMM_FIRECRACKER, "tab\there \xc3\xa9\n", "tab?here ??"},
        {VMM_QEMU, "qemu-system-x86_64: warning: a\nqemu-system-x86_64: could not load kernel\n", "could not load kernel"},
        {VMM_QEMU, "Error: x\n", "Error: x"},
    };
    char words[64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *output = cases[i].output;
        vmm_last_words(&vmm_drivers[cases[i].kind], output, strlen(output), words, sizeof words);
        ck_assert_str_eq(words, cases[i].words);
    }
    vmm_last_words(&vmm_drivers[VMM_QEMU], "too long to fit", 15, words, 9);
    ck_assert_str_eq(words, "too long");
}
END_TEST

static void write_program(const char *text)
{
    AUTO_CLOSE int fd = open(in_dir("program"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
}

START_TEST(causes_that_qemu_tells)
{
    static const struct {
        const char *output;
        enum vmm_cause cause;
    } cases[] = {
        {"", VMM_CAUSE_NONE},
        {"qemu-system-x86_64: warning: x\n", VMM_CAUSE_NONE},
        {"qemu_system_shutdown_request reason=6\n", VMM_CAUSE_GUEST_SHUTDOWN},
        {"qemu_system_shutdown_request reason=7\n", VMM_CAUSE_GUEST_RESET},
        {"qemu_system_shutdown_request reason=8\n", VMM_CAUSE_GUEST_PANIC},
        {"qemu_system_shutdown_request reason=1\n", VMM_CAUSE_HOST_ERROR},
        {"qemu-system-x86_64: terminating on signal 15 from pid 1 (x)\n", VMM_CAUSE_HOST_SIGNAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(vmm_drivers[VMM_QEMU].cause(cases[i].output, strlen(cases[i].output)), cases[i].cause);
    }
}
END_TEST

START_TEST(signals_that_firecracker_catches)
{
    ck_assert_int_eq(vmm_drivers[VMM_FIRECRACKER].caught_signal(150), SIGSEGV);
    ck_assert_int_eq(vmm_drivers[VMM_FIRECRACKER].caught_signal(148), SIGSYS);
    ck_assert_int_eq(vmm_drivers[VMM_FIRECRACKER].caught_signal(0), 0);
    ck_assert_int_eq(vmm_drivers[VMM_FIRECRACKER].caught_signal(1), 0);
}
END_TEST

START_TEST(finds_programs)
{
    make_dir();
    char path[128];
    char search[128];
    struct error err;
    write_program("x");
    (void)snprintf(search, sizeof search, "::relative:/nonesuch:%s:/usr/bin", dir);
    ck_assert_int_eq(vmm_find_binary("program", search, path, sizeof path, &err), 0);
    ck_assert_str_eq(path, in_dir("program"));
    ck_assert_int_eq(vmm_find_binary(in_dir("program"), "", path, sizeof path, &err), 0);
    ck_assert_str_eq(path, in_dir("program"));
    ck_assert_int_eq(vmm_find_binary("program", search, path, 8, &err), -1);
    ck_assert_int_eq(vmm_find_binary("./program", search, path, sizeof path, &err), -1);
    ck_assert_int_eq(vmm_find_binary("program", "", path, sizeof path, &err), -1);
    ck_assert_int_eq(vmm_find_binary(dir, "", path, sizeof path, &err), -1); /* a directory is no program */
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(vmm_find_binary("program", ".:", path, sizeof path, &err), -1);
    ck_assert_int_eq(chmod(in_dir("program"), 0600), 0);
    ck_assert_int_eq(vmm_find_binary("program", search, path, sizeof path, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_UNAVAILABLE);
    remove_dir();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmm");
    TCase *texts = tcase_create("texts");
    tcase_add_test(texts, table_is_complete);
    tcase_add_test(texts, firecracker_config_has_it_all);
    tcase_add_test(texts, firecracker_config_of_nothing_extra);
    tcase_add_test(texts, firecracker_config_refuses_what_is_not_utf8);
    tcase_add_test(texts, firecracker_prepare_replaces_the_file);
    tcase_add_test(texts, firecracker_command_line);
    tcase_add_test(texts, firecracker_command_line_in_a_jail);
    tcase_add_test(texts, qemu_command_line_in_a_jail);
    tcase_add_test(texts, qemu_command_line);
    tcase_add_test(texts, qemu_command_line_of_nothing_extra);
    tcase_add_test(texts, socket_paths_have_an_end);
    tcase_add_test(texts, firecracker_states);
    tcase_add_test(texts, firecracker_faults);
    tcase_add_test(texts, qemu_states);
    tcase_add_test(texts, versions);
    tcase_add_test(texts, last_words);
    tcase_add_test(texts, causes_that_qemu_tells);
    tcase_add_test(texts, signals_that_firecracker_catches);
    tcase_add_test(texts, finds_programs);
    suite_add_tcase(suite, texts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
