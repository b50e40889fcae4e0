/* Kernel parameters, in a network namespace of the test's own. */
#include "host/sysctl.h"

#include "tests/host/netns.h"

static bool file_says(const char *path, char wanted)
{
    char value = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert(fd >= 0 && read(fd, &value, 1) == 1);
    (void)close(fd);
    return value == wanted;
}

START_TEST(forwarding_is_set_and_read_per_interface)
{
    struct error err = {0};
    bool on = true;
    netns_run("ip link add d0 type bridge");
    netns_run("ip link add d1 type bridge");
    MUST(sysctl_forwarding_set("d0", false, &err));
    MUST(sysctl_forwarding_get("d0", &on, &err));
    ck_assert(!on);
    MUST(sysctl_forwarding_set("d0", true, &err));
    MUST(sysctl_forwarding_get("d0", &on, &err));
    ck_assert(on);
    ck_assert(file_says("/proc/sys/net/ipv4/conf/d0/forwarding", '1'));
    MUST(sysctl_forwarding_set("d1", false, &err));
    ck_assert(file_says("/proc/sys/net/ipv4/conf/d1/forwarding", '0'));
    ck_assert(file_says("/proc/sys/net/ipv4/conf/d0/forwarding", '1'));
}
END_TEST

START_TEST(a_missing_interface_is_named)
{
    struct error err = {0};
    bool on = false;
    ck_assert(sysctl_forwarding_get("nosuch0", &on, &err) != 0);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_int_eq(err.code, ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "nosuch0/forwarding"));
    ck_assert(sysctl_forwarding_set("nosuch0", true, &err) != 0);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert(sysctl_ipv6_disable("nosuch0", &err) != 0);
    ck_assert_int_eq(err.sys_errno, ENOENT);
}
END_TEST

static const char *const no_names[] = {"", ".", "..", "a/b", "../ipv6", "sixteen-letters-"};

START_TEST(what_is_no_name_makes_no_path)
{
    struct error err = {0};
    bool on = false;
    ck_assert(sysctl_forwarding_get(no_names[_i], &on, &err) != 0);
    ck_assert_int_eq(err.sys_errno, EINVAL);
    ck_assert(sysctl_forwarding_set(no_names[_i], true, &err) != 0);
    ck_assert_int_eq(err.sys_errno, EINVAL);
    ck_assert(sysctl_ipv6_disable(no_names[_i], NULL) != 0);
}
END_TEST

START_TEST(names_with_dots_and_of_the_full_length)
{
    struct error err = {0};
    bool on = false;
    netns_run("ip link add eth0.1234567890 type bridge");
    MUST(sysctl_forwarding_set("eth0.1234567890", true, &err));
    MUST(sysctl_forwarding_get("eth0.1234567890", &on, &err));
    ck_assert(on);
}
END_TEST

START_TEST(ipv6_is_turned_off)
{
    struct error err = {0};
    netns_run("ip link add d0 type bridge");
    if (access("/proc/sys/net/ipv6", F_OK) == 0) {
        ck_assert(file_says("/proc/sys/net/ipv6/conf/d0/disable_ipv6", '0'));
    }
    MUST(sysctl_ipv6_disable("d0", &err));
    MUST(sysctl_ipv6_disable("d0", &err));
    if (access("/proc/sys/net/ipv6", F_OK) == 0) {
        ck_assert(file_says("/proc/sys/net/ipv6/conf/d0/disable_ipv6", '1'));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host/sysctl");
    TCase *tests = tcase_create("sysctl");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_add_test(tests, forwarding_is_set_and_read_per_interface);
    tcase_add_test(tests, a_missing_interface_is_named);
    tcase_add_loop_test(tests, what_is_no_name_makes_no_path, 0, (int)ARRAY_LEN(no_names));
    tcase_add_test(tests, names_with_dots_and_of_the_full_length);
    tcase_add_test(tests, ipv6_is_turned_off);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
