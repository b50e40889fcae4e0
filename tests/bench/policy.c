/*
 * Figures of firewall policies, in namespaces of its own: how long a thousand policies take to replace, and what a packet costs with one and
 * with a thousand VMs. Prints lines as tests/bench/run.sh does.
 */
#include "host/gate/gate.h"
#include "tests/host/policy_box.h"

#include <check.h>
#include <linux/virtio_net.h>
#include <sys/resource.h>

enum { VMS = 1000, RULES = 10, REPLACEMENTS = 15, ROUNDS = 15, PACKETS = 20000 };

static const struct address_sets no_sets = {.count = 0};

static struct many {
    struct policy policies[2];
    struct ip_addr addresses[VMS];
    struct nft_policy_vm vms[VMS];
    struct nft_guest guests[VMS + GUESTS];
} many;

static void figure(const char *name, double value, const char *unit, double floor)
{
    (void)printf("figure %s %.3f %s floor=%.3f ratio=%.2f\n", name, value, unit, floor, floor > 0 ? value / floor : 0.0);
    (void)fflush(stdout);
}

/* Ten rules of every kind; two of them with a list. */
static const char *const texts[2] = {
    "{\"egress\":{\"default_action\":\"deny\",\"rules\":["
    "{\"action\":\"deny\",\"to\":\"10.0.0.0/8\"},{\"action\":\"deny\",\"to\":\"192.168.0.0/16\"},"
    "{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":53},{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[80,443]},"
    "{\"action\":\"allow\",\"protocol\":\"icmp\"},{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":25}]},"
    "\"ingress\":{\"rules\":[{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":22},"
    "{\"action\":\"allow\",\"from\":[\"192.0.2.0/24\",\"198.51.100.0/24\"],\"protocol\":\"tcp\",\"ports\":\"8000-8999\"},"
    "{\"action\":\"allow\",\"from\":\"203.0.113.7\"},{\"action\":\"deny\",\"protocol\":\"udp\"}]}}",
    "{\"egress\":{\"rules\":["
    "{\"action\":\"deny\",\"to\":\"172.16.0.0/12\"},{\"action\":\"deny\",\"to\":\"192.168.0.0/16\"},"
    "{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":123},{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,443]},"
    "{\"action\":\"allow\",\"protocol\":\"icmp\"},{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":26}]},"
    "\"ingress\":{\"rules\":[{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":443},"
    "{\"action\":\"allow\",\"from\":[\"192.0.2.0/25\",\"198.51.100.0/25\"],\"protocol\":\"tcp\",\"ports\":\"9000-9999\"},"
    "{\"action\":\"allow\",\"from\":\"203.0.113.8\"},{\"action\":\"deny\",\"protocol\":\"udp\"}]}}",
};

static void make_many(void)
{
    make_box();
    memcpy(many.guests, guests, sizeof guests);
    for (int i = 0; i < 2; i++) {
        many.policies[i] = policy_of(texts[i]);
    }
    for (int i = 0; i < VMS; i++) {
        struct nft_guest *guest = &many.guests[GUESTS + i];
        many.addresses[i] = i == 0 ? net.addresses[0][0] : ip_addr_from_ipv4(0x0a640000 + (uint32_t)i);
        many.vms[i] = (struct nft_policy_vm){.uid = i + 1, .policy = &many.policies[0], .addresses = &many.addresses[i], .address_count = 1};
        (void)snprintf(guest->tap, sizeof guest->tap, "svtx%d", i);
        guest->mac = (struct mac){{2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
        guest->address = 0x0a640000 + (uint32_t)i;
    }
}

static void end_many(void)
{
    policy_free(&many.policies[0]);
    policy_free(&many.policies[1]);
    end_box();
}

static int by_value(const void *a, const void *b)
{
    return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

static int64_t replace(size_t count, int which)
{
    for (size_t i = 0; i < count; i++) {
        many.vms[i].policy = &many.policies[which];
    }
    const struct nft_policy_change change = {.sets = &no_sets, .vms = many.vms, .vm_count = count};
    const int64_t start = clock_monotonic_us();
    MUST(nft_policies_change(base.mark, &change, &err));
    return clock_monotonic_us() - start;
}

/* What this thread has used of a processor, in milliseconds. */
static double used_ms(bool by_kernel_alone)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &usage), 0);
    const double kernel = (double)usage.ru_stime.tv_sec * 1e3 + (double)usage.ru_stime.tv_usec / 1e3;
    return by_kernel_alone ? kernel : kernel + (double)usage.ru_utime.tv_sec * 1e3 + (double)usage.ru_utime.tv_usec / 1e3;
}

START_TEST(policies_replaced)
{
    double used = 0;
    double by_kernel = 0;
    int64_t all[REPLACEMENTS];
    int64_t one[REPLACEMENTS];
    (void)replace(VMS, 0);
    for (int i = 0; i < REPLACEMENTS; i++) {
        const double before = used_ms(false);
        const double kernel_before = used_ms(true);
        all[i] = replace(VMS, 1 - i % 2);
        used += used_ms(false) - before;
        by_kernel += used_ms(true) - kernel_before;
        one[i] = replace(1, i % 2);
    }
    /* The best counts: what else the host does only adds to it. */
    qsort(all, REPLACEMENTS, sizeof *all, by_value);
    qsort(one, REPLACEMENTS, sizeof *one, by_value);
    figure("policy_replace_1000", (double)all[0] / 1000, "ms", (double)one[0] * VMS / 1000);      /* floor: a thousand times one */
    figure("policy_replace_1000_processor", used / REPLACEMENTS, "ms", by_kernel / REPLACEMENTS); /* floor: inside the kernel, for the same messages */
    figure("policy_replace_one_of_1000", (double)one[0] / 1000, "ms", 0);
}
END_TEST

static void set_up_with(size_t count)
{
    struct policy host = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"10.255.0.0/16\"}]}}");
    const struct nft_policies policies = {.host = &host, .sets = &no_sets, .vms = many.vms, .vm_count = count};
    struct nft_base with = base;
    with.policies = &policies;
    MUST(nft_base_apply(&with, uplink, 1, many.guests, GUESTS + count - 1, &err));
    policy_free(&host);
}

/* The same packet again and again. Without an answer it never belongs to an established flow: each asks the policies. */
static int64_t forward_with(const struct frame *f, struct virtio_net_hdr head)
{
    uint8_t buf[sizeof head + FRAME_MAX];
    memcpy(buf, &head, sizeof head);
    memcpy(buf + sizeof head, f->bytes, f->len);
    const int64_t start = clock_monotonic_us();
    for (int i = 0; i < PACKETS; i++) {
        ck_assert_int_eq(write(net.tap[0], buf, sizeof head + f->len), (ssize_t)(sizeof head + f->len));
    }
    return clock_monotonic_us() - start;
}

static int64_t forward(const struct frame *f)
{
    return forward_with(f, (struct virtio_net_hdr){.flags = 0});
}

static void answer(const struct packet *p)
{
    const struct packet back = {.from = OUTSIDE,
                                .to = 0,
                                .source = p->destination,
                                .destination = p->source,
                                .protocol = p->protocol,
                                .source_port = p->port,
                                .port = p->source_port,
                                .number = 1};
    packet_send(&back);
    packets_await(&back, &(bool){true}, 1);
    ck_assert(net.sent[1].arrived);
}

/* One and a thousand take turns, so that what else the host does befalls both; the best round of each counts. */
static void compare(const char *name, uint16_t source_port, bool established)
{
    const struct packet p = {.from = 0,
                             .to = OUTSIDE,
                             .source = net.addresses[0][0],
                             .destination = ip_addr_from_ipv4(0xc6120001),
                             .protocol = IPPROTO_UDP,
                             .source_port = source_port,
                             .port = 53};
    const struct frame f = packet_frame(&p, bridge_mac, guests[0].mac);
    int64_t best[2] = {INT64_MAX, INT64_MAX};
    for (int round = 0; round < 2 * ROUNDS; round++) {
        set_up_with(round % 2 == 0 ? 1 : VMS);
        packet_send(&p);
        packets_await(&p, &(bool){true}, 1);
        ck_assert(net.sent[0].arrived);
        if (established) {
            answer(&p);
        }
        const int64_t took = forward(&f);
        best[round % 2] = took < best[round % 2] ? took : best[round % 2];
        note_arrivals();
    }
    figure(name, (double)best[1] * 1000 / PACKETS, "ns", (double)best[0] * 1000 / PACKETS); /* floor: with one VM */
}

START_TEST(packets_forwarded)
{
    for (int i = 0; i < VMS; i++) {
        many.vms[i].policy = &many.policies[0];
    }
    compare("forward_new_1000_vms", 3000, false);
    compare("forward_established_1000_vms", 3001, true);
}
END_TEST

static void set_gate(bool there)
{
    static const struct gate gate = {.bridge = "br0", .subnet = {.address = 0xac1e0000, .prefix = 24}};
    if (there) {
        MUST(gate_apply(&gate, &err));
    } else {
        (void)netns_try("tc qdisc del dev br0 clsact", NULL);
        (void)netns_try("ip rule del pref 64 iif br0", NULL);
        (void)netns_try("ip rule del pref 64 iif lo", NULL);
    }
}

static const struct {
    const char *name;
    struct virtio_net_hdr head;
} ways[] = {
    {"forward_established_gate", {.flags = 0}},
    {"forward_established_gate_open_checksum", {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6}}, /* as Linux sends */
};

/* What the lock outside of nftables costs a packet: without and with it in turns. */
START_TEST(packets_through_the_gate)
{
    const struct packet p = {.from = 0,
                             .to = OUTSIDE,
                             .source = net.addresses[0][0],
                             .destination = ip_addr_from_ipv4(0xc6120001),
                             .protocol = IPPROTO_UDP,
                             .source_port = 3002,
                             .port = 53};
    const struct frame f = packet_frame(&p, bridge_mac, guests[0].mac);
    int64_t best[2] = {INT64_MAX, INT64_MAX};
    set_up_with(1);
    packet_send(&p);
    packets_await(&p, &(bool){true}, 1);
    answer(&p);
    for (int round = 0; round < 4 * ROUNDS; round++) {
        set_gate(round % 2 == 1);
        const int64_t took = forward_with(&f, ways[_i].head);
        best[round % 2] = took < best[round % 2] ? took : best[round % 2];
        note_arrivals();
    }
    set_gate(false);
    figure(ways[_i].name, (double)best[1] * 1000 / PACKETS, "ns", (double)best[0] * 1000 / PACKETS); /* floor: without it */
}
END_TEST

/* One by one for those who look closer: CK_RUN_CASE=replace build-bench/tests/bench_policy */
static void add_case(Suite *suite, const char *name, const TTest *test, int times)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 600);
    tcase_add_checked_fixture(tcase, make_many, end_many);
    tcase_add_loop_test(tcase, test, 0, times);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("bench_policy");
    add_case(suite, "replace", policies_replaced, 1);
    add_case(suite, "forward", packets_forwarded, 1);
    add_case(suite, "gate", packets_through_the_gate, (int)ARRAY_LEN(ways));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
