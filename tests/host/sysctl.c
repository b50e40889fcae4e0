/* Kernel parameters, in a network namespace of the test's own. */
#include "host/link/sysctl.h"

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
}
END_TEST

static const char *const bridge_items[] = {
    "ipv4/conf/d0/proxy_arp_pvlan",     "ipv4/neigh/d0/proxy_delay",   "ipv4/conf/d0/send_redirects", "ipv4/conf/d0/accept_redirects", "ipv4/conf/d0/rp_filter",
    "ipv4/conf/d0/accept_source_route", "ipv4/conf/d0/src_valid_mark", "ipv6/conf/d0/accept_ra",      "ipv6/conf/d0/accept_redirects",
};

START_TEST(a_bridge_is_tuned)
{
    struct error err = {0};
    char found[SYSCTL_FOUND_MAX];
    netns_run("ip link add d0 type bridge");
    MUST(sysctl_bridge_check("d0", found, &err));
    ck_assert_str_eq(found, "net.ipv4.conf.d0.proxy_arp_pvlan is 0, not 1");
    MUST(sysctl_bridge_apply("d0", &err));
    MUST(sysctl_bridge_check("d0", found, &err));
    ck_assert_str_eq(found, "");
    ck_assert(file_says("/proc/sys/net/ipv4/conf/d0/rp_filter", '1'));
    ck_assert(file_says("/proc/sys/net/ipv6/conf/d0/accept_ra", '0'));
    for (size_t i = 0; i < ARRAY_LEN(bridge_items); i++) {
        char path[96];
        (void)snprintf(path, sizeof path, "/proc/sys/net/%s", bridge_items[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        const char *other = file_says(path, '1') ? "0" : "50"; /* a delay of 1 would be rounded to 0 */
        ck_assert_msg(fd >= 0 && write(fd, other, strlen(other)) == (ssize_t)strlen(other), "%s", path);
        (void)close(fd);
        MUST(sysctl_bridge_check("d0", found, &err));
        ck_assert_msg(found[0] != '\0', "%s", path);
        MUST(sysctl_bridge_apply("d0", &err));
        MUST(sysctl_bridge_check("d0", found, &err));
        ck_assert_str_eq(found, "");
    }
    ck_assert(sysctl_bridge_check("nosuch0", found, &err) != 0);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert(sysctl_bridge_apply("nosuch0", &err) != 0);
    ck_assert(sysctl_bridge_check("../d0", found, NULL) != 0);
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
    ck_assert(sysctl_number_set("ipv6", "conf", no_names[_i], "disable_ipv6", 1, NULL) != 0);
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

int main(void)
{
    Suite *suite = suite_create("host/sysctl");
    TCase *tests = tcase_create("sysctl");
    tcase_add_checked_fixture(tests, netns_enter, NULL);
    tcase_add_test(tests, forwarding_is_set_and_read_per_interface);
    tcase_add_test(tests, a_missing_interface_is_named);
    tcase_add_test(tests, a_bridge_is_tuned);
    tcase_add_loop_test(tests, what_is_no_name_makes_no_path, 0, (int)ARRAY_LEN(no_names));
    tcase_add_test(tests, names_with_dots_and_of_the_full_length);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
