/* Networks added up and taken away. */
#include "core/ip_range.h"

#include "core/cleanup.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error err;

static struct ip_addr address(const char *text)
{
    struct ip_addr ret = {.version = strchr(text, ':') != NULL ? IP_V6 : IP_V4};
    ck_assert_int_eq(inet_pton(ret.version == IP_V4 ? AF_INET : AF_INET6, text, ret.bytes), 1);
    return ret;
}

/* "10.0.0.0/8 ::/0": networks, separated by blanks. */
static size_t nets_of(const char *text, struct ip_net *ret)
{
    char copy[512];
    size_t count = 0;
    (void)snprintf(copy, sizeof copy, "%s", text);
    for (char *save = NULL, *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *slash = strchr(word, '/');
        *slash = '\0';
        ret[count++] = (struct ip_net){.address = address(word), .prefix = (uint8_t)strtoul(slash + 1, NULL, 10)};
    }
    return count;
}

static const struct {
    const char *in, *out, *ranges; /* "first-last first-last" */
} cases[] = {
    {"", "", ""},
    {"", "10.0.0.0/8", ""},
    {"10.0.0.0/8", "", "10.0.0.0-10.255.255.255"},
    {"10.1.2.3/32", "", "10.1.2.3-10.1.2.3"},
    {"0.0.0.0/0", "", "0.0.0.0-255.255.255.255"},
    {"::/0 0.0.0.0/0", "", "0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"10.1.0.0/16 10.0.0.0/16", "", "10.0.0.0-10.1.255.255"},                       /* adjacent */
    {"10.0.0.0/16 10.2.0.0/16", "", "10.0.0.0-10.0.255.255 10.2.0.0-10.2.255.255"}, /* not quite */
    {"10.1.0.0/16 10.0.0.0/8 10.1.2.0/24 10.0.0.0/8", "", "10.0.0.0-10.255.255.255"},
    {"224.0.0.0/3 255.255.255.255/32", "", "224.0.0.0-255.255.255.255"},
    {"240.0.0.0/4 224.0.0.0/4 2001:db8::/32", "", "224.0.0.0-255.255.255.255 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"10.0.0.0/8", "10.0.0.0/8", ""},
    {"10.0.0.0/8", "0.0.0.0/0", ""},
    {"10.0.0.0/8", "::/0", "10.0.0.0-10.255.255.255"},
    {"10.0.0.0/8", "11.0.0.0/8 9.0.0.0/8", "10.0.0.0-10.255.255.255"},
    {"10.0.0.0/8", "10.0.0.0/9", "10.128.0.0-10.255.255.255"},
    {"10.0.0.0/8", "10.128.0.0/9", "10.0.0.0-10.127.255.255"},
    {"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0-10.0.255.255 10.2.0.0-10.255.255.255"},
    {"10.0.0.0/24 10.0.2.0/24", "10.0.0.128/25 10.0.2.0/25", "10.0.0.0-10.0.0.127 10.0.2.128-10.0.2.255"},
    {"0.0.0.0/0", "0.0.0.0/32 255.255.255.255/32 128.0.0.0/32", "0.0.0.1-127.255.255.255 128.0.0.1-255.255.255.254"},
    {"fe80::/10", "fe80::/128", "fe80::1-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"2001:db8::/33", "2001:db8:0:1::/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff 2001:db8:0:2::-2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"},
};

START_TEST(networks_become_ranges)
{
    struct ip_net in[16];
    struct ip_net out[16];
    char text[1024] = "";
    struct ip_range *ranges = NULL;
    size_t count = 99;
    ck_assert_int_eq(ip_ranges_make(in, nets_of(cases[_i].in, in), out, nets_of(cases[_i].out, out), &ranges, &count, &err), 0);
    ck_assert_ptr_nonnull(ranges);
    for (size_t i = 0; i < count; i++) {
        char first[INET6_ADDRSTRLEN];
        char last[INET6_ADDRSTRLEN];
        int family = ranges[i].first.version == IP_V4 ? AF_INET : AF_INET6;
        ck_assert_int_eq(ranges[i].first.version, ranges[i].last.version);
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%s%s-%s", i > 0 ? " " : "", inet_ntop(family, ranges[i].first.bytes, first, sizeof first),
                       inet_ntop(family, ranges[i].last.bytes, last, sizeof last));
    }
    ck_assert_str_eq(text, cases[_i].ranges);
    free(ranges);
}
END_TEST

START_TEST(the_next_address)
{
    struct ip_addr a = address("10.0.255.255");
    struct ip_addr wanted = address("10.1.0.0");
    ck_assert(ip_addr_next(&a));
    ck_assert_mem_eq(&a, &wanted, sizeof a);
    a = address("::ffff:ffff");
    wanted = address("::1:0:0");
    ck_assert(ip_addr_next(&a));
    ck_assert_mem_eq(&a, &wanted, sizeof a);
    a = wanted = address("255.255.255.255");
    ck_assert(!ip_addr_next(&a));
    ck_assert_mem_eq(&a, &wanted, sizeof a);
    a = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    ck_assert(!ip_addr_next(&a));
}
END_TEST

START_TEST(lists_are_told_apart)
{
    const struct ip_range a[] = {{address("10.0.0.0"), address("10.0.0.9")}, {address("::1"), address("::2")}};
    const struct ip_range b[] = {{address("10.0.0.0"), address("10.0.0.9")}, {address("::1"), address("::3")}};
    ck_assert_uint_eq(ip_ranges_digest(a, 1), ip_ranges_digest(b, 1));
    ck_assert_uint_ne(ip_ranges_digest(a, 2), ip_ranges_digest(b, 2));
    ck_assert_uint_ne(ip_ranges_digest(a, 2), ip_ranges_digest(a, 1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ip_range");
    TCase *tcase = tcase_create("ip_range");
    tcase_add_loop_test(tcase, networks_become_ranges, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tcase, the_next_address);
    tcase_add_test(tcase, lists_are_told_apart);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
