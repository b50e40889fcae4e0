/* The difference between published ports as they are and as they are wanted. */
#include "worker/network/ports_diff.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>

/* IPv4 addresses by their last byte. */
#define AT(last) \
    { \
        .version = IP_V4, .bytes = { [3] = (last) } \
    }
#define PORT(protocol_, host_port_, host_, guest, guest_port_) \
    { \
        .protocol = (protocol_), .host_port = (host_port_), .host = AT(host_), .address = AT(guest), .guest_port = (guest_port_) \
    }

static const struct nft_port a = PORT(IPPROTO_TCP, 80, 0, 10, 8080);
static const struct nft_port a_elsewhere = PORT(IPPROTO_TCP, 80, 0, 11, 8080);
static const struct nft_port a_other_port = PORT(IPPROTO_TCP, 80, 0, 10, 8081);
static const struct nft_port a_at_one = PORT(IPPROTO_TCP, 80, 1, 10, 8080);
static const struct nft_port a_at_other = PORT(IPPROTO_TCP, 80, 2, 11, 8080);
static const struct nft_port b = PORT(IPPROTO_TCP, 81, 0, 11, 81);
static const struct nft_port a_udp = PORT(IPPROTO_UDP, 80, 0, 10, 53);
static const struct nft_port a_v6 = {
    .protocol = IPPROTO_TCP, .host_port = 80, .host.version = IP_V6, .address = {.version = IP_V6, .bytes = {[15] = 10}}, .guest_port = 8080};
static struct ports_diff diff;
static struct error err;

static void make(const struct nft_port *there, size_t there_count, const struct nft_port *wanted, size_t wanted_count, const struct ip_addr only[2])
{
    ports_diff_free(&diff);
    ck_assert_int_eq(ports_diff_make(there, there_count, wanted, wanted_count, only, &diff, &err), 0);
}

static bool is(const struct nft_port *x, const struct nft_port *y)
{
    return nft_port_compare(x, y) == 0 && ip_addr_equal(&x->address, &y->address) && x->guest_port == y->guest_port;
}

START_TEST(nothing_to_do)
{
    const struct nft_port all[] = {a, b, a_udp};
    make(NULL, 0, NULL, 0, NULL);
    ck_assert(diff.add_count == 0 && diff.remove_count == 0);
    make(all, 3, all, 3, NULL);
    ck_assert(diff.add_count == 0 && diff.remove_count == 0);
}
END_TEST

START_TEST(missing_and_left_over)
{
    const struct nft_port there[] = {a, a_udp};
    const struct nft_port wanted[] = {a, b};
    make(there, 2, wanted, 2, NULL);
    ck_assert(diff.add_count == 1 && is(&diff.add[0], &b));
    ck_assert(diff.remove_count == 1 && is(&diff.remove[0], &a_udp));
    make(there, 2, NULL, 0, NULL);
    ck_assert(diff.add_count == 0 && diff.remove_count == 2);
    make(NULL, 0, wanted, 2, NULL);
    ck_assert(diff.add_count == 2 && diff.remove_count == 0);
}
END_TEST

START_TEST(leads_elsewhere)
{
    const struct nft_port *const others[] = {&a_elsewhere, &a_other_port};
    for (int i = 0; i < 2; i++) {
        make(others[i], 1, &a, 1, NULL);
        ck_assert(diff.add_count == 1 && is(&diff.add[0], &a));
        ck_assert(diff.remove_count == 1 && is(&diff.remove[0], others[i]));
    }
}
END_TEST

START_TEST(one_vm_leaves_the_others_alone)
{
    const struct nft_port there[] = {a, b, a_udp}; /* b is another VM's */
    const struct ip_addr address[2] = {AT(10)};
    const struct ip_addr other[2] = {AT(11)};
    make(there, 3, NULL, 0, address);
    ck_assert(diff.remove_count == 2 && is(&diff.remove[0], &a) && is(&diff.remove[1], &a_udp));
    make(there, 3, &a, 1, address);
    ck_assert(diff.add_count == 0 && diff.remove_count == 1 && is(&diff.remove[0], &a_udp));
    make(there, 3, &a_elsewhere, 1, other); /* a VM that got the port of one which has not given it back yet */
    ck_assert(diff.add_count == 1 && is(&diff.add[0], &a_elsewhere));
    ck_assert(diff.remove_count == 2 && is(&diff.remove[0], &a) && is(&diff.remove[1], &b));
}
END_TEST

START_TEST(addresses_of_the_host_are_places_of_their_own)
{
    const struct nft_port there[] = {a_at_one, a_at_other};
    const struct nft_port wanted[] = {a, a_at_other};
    const struct ip_addr of_both_versions[2] = {AT(10), a_v6.address};
    make(there, 2, wanted, 2, NULL);
    ck_assert(diff.add_count == 1 && is(&diff.add[0], &a));
    ck_assert(diff.remove_count == 1 && is(&diff.remove[0], &a_at_one));
    const struct nft_port v6_too[] = {a_at_one, a_at_other, a_v6};
    make(v6_too, 3, NULL, 0, of_both_versions);
    ck_assert(diff.remove_count == 2 && is(&diff.remove[0], &a_at_one) && is(&diff.remove[1], &a_v6));
}
END_TEST

START_TEST(sorting)
{
    struct nft_port ports[] = {a_udp, b, a};
    ports_sort(ports, 3);
    ck_assert(is(&ports[0], &a) && is(&ports[1], &b) && is(&ports[2], &a_udp));
    ports_sort(NULL, 0);
}
END_TEST

static void teardown(void)
{
    ports_diff_free(&diff);
}

int main(void)
{
    Suite *suite = suite_create("ports_diff");
    TCase *tcase = tcase_create("diff");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, nothing_to_do);
    tcase_add_test(tcase, missing_and_left_over);
    tcase_add_test(tcase, leads_elsewhere);
    tcase_add_test(tcase, one_vm_leaves_the_others_alone);
    tcase_add_test(tcase, addresses_of_the_host_are_places_of_their_own);
    tcase_add_test(tcase, sorting);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
