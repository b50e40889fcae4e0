/*
 * Thousands of random packets through random policies: what the kernel lets through is what policy_decide() says, for egress, ingress and
 * from guest to guest, in both IP versions. The seed is printed, and SMARTVM_TEST_SEED sets it; SMARTVM_TEST_ROUNDS the number of policies.
 */
#include "host/nft/conntrack.h"
#include "tests/host/policy_box.h"

#include <check.h>

enum { ROUNDS = 120, PACKETS = 40, RULES = 8, SETS = 3, TEXT = 16384 };

/* xorshift64*: the same on every host. */
static uint64_t state;

static uint32_t below(uint32_t limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % limit;
}

static bool one_in(uint32_t n)
{
    return below(n) == 0;
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- a small world, so that rules and packets meet ---- */

/* 198.18.0.0/20 and 2001:db8::/116, or, at times, a guest. */
static struct ip_addr random_address(bool v4)
{
    const uint32_t host = one_in(3) ? below(4096) : below(16) * 256 + below(2) * 255;
    struct ip_addr address = {.version = IP_V6, .bytes = {0x20, 0x01, 0x0d, 0xb8}};
    if (one_in(6)) {
        return net.addresses[below(GUESTS)][v4 ? 0 : 1];
    }
    if (v4) {
        return ip_addr_from_ipv4(0xc6120000 + host);
    }
    address.bytes[14] = (uint8_t)(host >> 8);
    address.bytes[15] = (uint8_t)host;
    return address;
}

static void random_net(char *buf, size_t size)
{
    const bool v4 = !one_in(3);
    const uint32_t width = v4 ? 32 : 128;
    struct ip_addr address = random_address(v4);
    char text[IP_TEXT_MAX];
    const uint32_t prefix = one_in(12) ? 0 : width - below(13);
    for (uint32_t bit = prefix; bit < width; bit++) {
        address.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    }
    (void)snprintf(buf, size, "%s/%u", ip_addr_format(&address, text), prefix);
}

static uint16_t random_port(void)
{
    static const uint16_t ports[] = {1, 2, 22, 53, 80, 81, 443, 8000, 8001, 8999, 9000, 65534, 65535};
    return one_in(4) ? (uint16_t)(1 + below(65535)) : ports[below(ARRAY_LEN(ports))];
}

/* ---- policies, as a client writes them ---- */

static json_t *random_nets(bool with_sets)
{
    json_t *list = json_array();
    for (uint32_t i = below(6) + 1; i > 0; i--) {
        char text[64];
        if (with_sets && one_in(4)) {
            (void)snprintf(text, sizeof text, "@set-%u", below(SETS));
        } else {
            random_net(text, sizeof text);
        }
        ck_assert(json_array_append_new(list, json_string(text)) == 0);
    }
    return list;
}

static json_t *random_ports(void)
{
    json_t *list = json_array();
    for (uint32_t i = one_in(2) ? 1 : below(5) + 1; i > 0; i--) {
        const unsigned a = random_port();
        const unsigned b = random_port();
        char text[16];
        (void)snprintf(text, sizeof text, "%u-%u", a < b ? a : b, a < b ? b : a);
        ck_assert(json_array_append_new(list, one_in(2) ? json_integer(a) : json_string(text)) == 0);
    }
    return list;
}

static json_t *random_rule(const char *end)
{
    static const char *const protocols[] = {"all", "tcp", "udp", "icmp"};
    const uint32_t protocol = below(ARRAY_LEN(protocols));
    json_t *rule = json_pack("{s:s, s:s}", "action", one_in(2) ? "allow" : "deny", "protocol", protocols[protocol]);
    if (!one_in(4)) {
        ck_assert(json_object_set_new(rule, end, random_nets(true)) == 0);
    }
    if ((protocol == 1 || protocol == 2) && !one_in(3)) {
        ck_assert(json_object_set_new(rule, "ports", random_ports()) == 0);
    }
    return rule;
}

static json_t *random_direction(const char *end)
{
    json_t *rules = json_array();
    for (uint32_t i = below(RULES + 1); i > 0; i--) {
        ck_assert(json_array_append_new(rules, random_rule(end)) == 0);
    }
    return json_pack("{s:s, s:o}", "default_action", one_in(3) ? "deny" : "allow", "rules", rules);
}

static struct policy random_policy(char *text)
{
    struct policy policy = {0};
    json_t *json = json_pack("{s:o, s:o}", "egress", random_direction("to"), "ingress", random_direction("from"));
    char *dump = json_dumps(json, JSON_COMPACT);
    ck_assert(json != NULL && dump != NULL);
    (void)snprintf(text, TEXT, "%s", dump);
    ck_assert_msg(policy_parse(json, &policy, &err) == 0, "%s: %s", text, err.message);
    free(dump);
    json_decref(json);
    return policy;
}

static struct world {
    struct policy host, vm[GUESTS];
    bool has_own[GUESTS];
    char host_text[TEXT], vm_text[GUESTS][TEXT];
    struct address_set set[SETS];
    struct address_sets sets;
} world;

static void make_sets(void)
{
    for (unsigned i = 0; i < SETS; i++) {
        char name[ADDRESS_SET_NAME_MAX];
        json_t *nets = one_in(8) ? json_array() : random_nets(false);
        (void)snprintf(name, sizeof name, "set-%u", i);
        ck_assert_msg(address_set_parse(name, nets, &world.set[i], &err) == 0, "%s", err.message);
        json_decref(nets);
    }
    world.sets = (struct address_sets){.sets = world.set, .count = SETS};
}

static void make_world(void)
{
    make_sets();
    world.host = random_policy(world.host_text);
    for (int i = 0; i < GUESTS; i++) {
        world.has_own[i] = !one_in(4);
        world.vm[i] = random_policy(world.vm_text[i]);
    }
}

static void free_world(void)
{
    policy_free(&world.host);
    for (int i = 0; i < GUESTS; i++) {
        policy_free(&world.vm[i]);
    }
    for (int i = 0; i < SETS; i++) {
        address_set_free(&world.set[i]);
    }
}

/* One batch: sets, the host-wide policy, and those of all VMs. */
static void apply_world(void)
{
    const struct address_set *refill[SETS];
    struct nft_policy_vm vms[GUESTS];
    for (int i = 0; i < SETS; i++) {
        refill[i] = &world.set[i];
    }
    for (int i = 0; i < GUESTS; i++) {
        vms[i] = vm_of(i, world.has_own[i] ? &world.vm[i] : NULL);
    }
    const struct nft_policy_change change = {.sets = &world.sets, .host = &world.host, .vms = vms, .vm_count = GUESTS, .refill = refill, .refill_count = SETS};
    MUST(nft_policies_change(base.mark, &change, &err));
}

/* ---- packets ---- */

/* Flows of protocols without ports are one, there and back: one packet a round, and the next round forgets it. */
static bool is_tracked_by_address(uint8_t protocol)
{
    return protocol == 50 || protocol == 253;
}

static bool every_flow(const struct conntrack_flow *flow, void *ctx)
{
    (void)flow;
    (void)ctx;
    return true;
}

static struct packet random_packet(uint32_t number)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_ICMP, 50, 253};
    static uint16_t source_port = 1024;
    const bool v4 = !one_in(3);
    const int guest = (int)below(GUESTS);
    struct packet p = {.number = number, .protocol = protocols[below(ARRAY_LEN(protocols))], .from = guest, .to = OUTSIDE};
    source_port = source_port == UINT16_MAX ? 1024 : (uint16_t)(source_port + 1);
    p.source = net.addresses[guest][v4 ? 0 : 1];
    do {
        p.destination = random_address(v4);
        p.to = OUTSIDE;
        for (int i = 0; i < GUESTS; i++) {
            p.to = ip_addr_equal(&p.destination, &net.addresses[i][v4 ? 0 : 1]) ? i : p.to;
        }
    } while (p.to == p.from);
    if (p.to == OUTSIDE && one_in(2)) {
        const struct ip_addr swap = p.source;
        p.source = p.destination;
        p.destination = swap;
        p.from = OUTSIDE;
        p.to = guest;
    }
    if (p.protocol == IPPROTO_TCP || p.protocol == IPPROTO_UDP) {
        p.port = random_port();
    }
    p.protocol = p.protocol == IPPROTO_ICMP && !v4 ? IPPROTO_ICMPV6 : p.protocol;
    p.source_port = source_port;
    return p;
}

static bool decide(int guest, enum policy_direction_name direction, const struct packet *p)
{
    const struct policy_packet packet = {.remote = direction == POLICY_EGRESS ? p->destination : p->source, .protocol = p->protocol, .port = p->port};
    int rule = 0;
    return policy_decide(&world.host.directions[direction], &world.sets, &packet, &rule) &&
           (!world.has_own[guest] || policy_decide(&world.vm[guest].directions[direction], &world.sets, &packet, &rule));
}

static bool should_pass(const struct packet *p)
{
    return (p->from == OUTSIDE || decide(p->from, POLICY_EGRESS, p)) && (p->to == OUTSIDE || decide(p->to, POLICY_INGRESS, p));
}

static void check_packet(const struct packet *p, bool expected, unsigned round)
{
    char text[160];
    packet_text(p, text, sizeof text);
    ck_assert_msg(!net.sent[p->number].astray, "%s went astray", text);
    ck_assert_msg(net.sent[p->number].arrived == expected, "seed %llu round %u: %s %s\nhost %s\nfrom %s\nto %s",
                  (unsigned long long)environment("SMARTVM_TEST_SEED", 0), round, text, expected ? "should pass and did not" : "passed and should not",
                  world.host_text, p->from == OUTSIDE || !world.has_own[p->from] ? "-" : world.vm_text[p->from],
                  p->to == OUTSIDE || !world.has_own[p->to] ? "-" : world.vm_text[p->to]);
}

START_TEST(kernel_and_evaluator_agree)
{
    const uint64_t seed = environment("SMARTVM_TEST_SEED", (uint64_t)clock_wall_ms());
    const unsigned rounds = (unsigned)environment("SMARTVM_TEST_ROUNDS", ROUNDS);
    size_t passed = 0;
    size_t total = 0;
    const int64_t start = clock_monotonic_ms();
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    ck_assert(setenv("SMARTVM_TEST_SEED", text, 1) == 0);
    state = seed | 1;
    for (unsigned round = 0; round < rounds; round++) {
        struct packet packets[PACKETS];
        bool expected[PACKETS];
        make_world();
        apply_world();
        for (uint32_t i = 0; i < PACKETS; i++) {
            do {
                packets[i] = random_packet((round * PACKETS + i) % PACKETS_MAX);
            } while (i > 0 && is_tracked_by_address(packets[i].protocol));
            expected[i] = should_pass(&packets[i]);
            packet_send(&packets[i]);
            passed += expected[i];
            total++;
        }
        packets_await(packets, expected, PACKETS);
        for (uint32_t i = 0; i < PACKETS; i++) {
            check_packet(&packets[i], expected[i], round);
        }
        free_world();
        MUST(conntrack_cut(every_flow, NULL, NULL, &err));
    }
    (void)printf("nft_policy_random: seed %llu, %u worlds, %zu packets, %zu of them allowed, %lld ms\n", (unsigned long long)seed, rounds, total, passed,
                 (long long)(clock_monotonic_ms() - start));
    ck_assert(passed > total / 10 && passed < total * 9 / 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nft_policy_random");
    TCase *tcase = tcase_create("random");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, make_box, end_box);
    tcase_add_test(tcase, kernel_and_evaluator_agree);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
