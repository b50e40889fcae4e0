/*
 * Policies in the kernel: each kind of rule with real packets on both sides of it, beside what policy_decide() says; what is there is read
 * back by `nft` as an independent judge; damage is seen; changes touch what they are about and nothing else.
 */
#include "tests/host/policy_box.h"

#include <check.h>

static struct address_set set_list[2];
static struct address_sets sets = {.sets = set_list, .count = 2};

static struct address_set set_of(const char *name, const char *text)
{
    json_t *nets = NULL;
    struct address_set set = {.net_count = 0};
    MUST(json_parse(text, strlen(text), &nets, &err));
    MUST(address_set_parse(name, nets, &set, &err));
    json_decref(nets);
    return set;
}

static void refill(void)
{
    const struct address_set *all[] = {&set_list[0], &set_list[1]};
    const struct nft_policy_change change = {.sets = &sets, .refill = all, .refill_count = 2};
    MUST(nft_policies_change(base.mark, &change, &err));
}

static void setup(void)
{
    make_box();
    set_list[0] = set_of("caches", "[\"198.18.1.0/24\", \"198.18.2.7\", \"2001:db8:1::/48\"]");
    set_list[1] = set_of("empty", "[]");
    refill();
}

static void teardown(void)
{
    address_set_free(&set_list[0]);
    address_set_free(&set_list[1]);
    end_box();
}

static void set_policies(const struct policy *host, const struct policy *vm)
{
    const struct nft_policy_vm vms[] = {vm_of(0, vm)};
    const struct nft_policy_change change = {.sets = &sets, .host = host, .vms = vms, .vm_count = 1};
    MUST(nft_policies_change(base.mark, &change, &err));
}

/* ---- one packet ---- */

static uint16_t next_port = 2000;
static uint32_t next_number;

static struct packet packet_of(const char *remote, enum policy_direction_name direction, uint8_t protocol, uint16_t port)
{
    struct packet p = {.from = 0, .to = OUTSIDE, .protocol = protocol, .port = port, .source_port = next_port++, .number = next_number++ % PACKETS_MAX};
    ck_assert_msg(ip_addr_parse(remote, &p.destination), "%s", remote);
    p.source = net.addresses[0][p.destination.version == IP_V4 ? 0 : 1];
    for (int i = 0; i < GUESTS; i++) {
        for (int v = 0; v < 2; v++) {
            p.to = ip_addr_equal(&p.destination, &net.addresses[i][v]) ? i : p.to;
        }
    }
    if (direction == POLICY_INGRESS) {
        const struct ip_addr swap = p.source;
        p.source = p.destination;
        p.destination = swap;
        p.from = p.to;
        p.to = 0;
    }
    return p;
}

static bool passes(const struct packet *p)
{
    packet_send(p);
    note_arrivals();
    if (!net.sent[p->number].arrived) {
        packets_await(p, &(bool){false}, 1); /* it had its chance: the kernel forwards within the call that sends */
    }
    ck_assert(!net.sent[p->number].astray);
    return net.sent[p->number].arrived;
}

static const struct kind {
    const char *policy, *remote;
    enum policy_direction_name direction;
    uint8_t protocol;
    uint16_t port;
    bool passes;
} kinds[] = {
#define DENY_ALL   "{\"egress\":{\"default_action\":\"deny\",\"rules\":["
#define RULE(text) DENY_ALL text "]}}"
    {"{}", "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 80, true},
    {"{}", "198.18.0.1", POLICY_INGRESS, IPPROTO_TCP, 80, false},
    {"{}", "2001:db8::1", POLICY_EGRESS, IPPROTO_UDP, 80, true},
    {"{}", "2001:db8::1", POLICY_INGRESS, IPPROTO_UDP, 80, false},
    {RULE(""), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 53, false},
    {RULE("{\"action\":\"allow\"}"), "198.18.0.1", POLICY_EGRESS, 253, 0, true},
    /* protocols */
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 1, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 1, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_ICMP, 0, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"icmp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_ICMP, 0, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"icmp\"}"), "2001:db8::1", POLICY_EGRESS, IPPROTO_ICMPV6, 0, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"icmp\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    /* a port, a range, a list, and their edges */
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":443}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 443, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":443}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 444, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":443}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 443, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":\"8000-8999\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 8000, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":\"8000-8999\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 8999, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":\"8000-8999\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 7999, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"udp\",\"ports\":\"8000-8999\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_UDP, 9000, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,\"80-81\",65535]}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 22, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,\"80-81\",65535]}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 81, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,\"80-81\",65535]}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 65535, true},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,\"80-81\",65535]}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 82, false},
    {RULE("{\"action\":\"allow\",\"protocol\":\"tcp\",\"ports\":[22,\"80-81\",65535]}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 65534, false},
    /* an address, a network, a list, of either version */
    {RULE("{\"action\":\"allow\",\"to\":\"198.18.0.7\"}"), "198.18.0.7", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"198.18.0.7\"}"), "198.18.0.8", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":\"198.18.4.0/23\"}"), "198.18.5.255", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"198.18.4.0/23\"}"), "198.18.6.0", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":\"198.18.4.0/23\"}"), "198.18.3.255", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":[\"198.18.0.7\",\"198.18.4.0/23\",\"2001:db8:7::/64\"]}"), "198.18.0.7", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":[\"198.18.0.7\",\"198.18.4.0/23\",\"2001:db8:7::/64\"]}"), "198.18.0.6", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":[\"198.18.0.7\",\"198.18.4.0/23\",\"2001:db8:7::/64\"]}"), "2001:db8:7::9", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":[\"198.18.0.7\",\"198.18.4.0/23\",\"2001:db8:7::/64\"]}"), "2001:db8:8::9", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":[\"2001:db8:7::1\",\"2001:db8:9::/48\"]}"), "2001:db8:9:ffff::1", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"0.0.0.0/0\"}"), "2001:db8::1", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":\"::/0\"}"), "2001:db8::1", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"::/0\"}"), "198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    /* sets */
    {RULE("{\"action\":\"allow\",\"to\":\"@caches\"}"), "198.18.1.200", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"@caches\"}"), "198.18.2.7", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"@caches\"}"), "198.18.2.8", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":\"@caches\"}"), "2001:db8:1::1", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    {RULE("{\"action\":\"allow\",\"to\":\"@caches\"}"), "2001:db8:2::1", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":\"@empty\"}"), "198.18.2.8", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"allow\",\"to\":[\"@empty\",\"198.18.2.8\"]}"), "198.18.2.8", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    /* the first that matches decides */
    {RULE("{\"action\":\"deny\",\"to\":\"198.18.0.7\"},{\"action\":\"allow\",\"to\":\"198.18.0.0/24\"}"), "198.18.0.7", POLICY_EGRESS, IPPROTO_TCP, 1, false},
    {RULE("{\"action\":\"deny\",\"to\":\"198.18.0.7\"},{\"action\":\"allow\",\"to\":\"198.18.0.0/24\"}"), "198.18.0.8", POLICY_EGRESS, IPPROTO_TCP, 1, true},
    /* ingress looks at the source, and at the port of the guest */
    {"{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"198.18.0.7\",\"protocol\":\"tcp\",\"ports\":443}]}}", "198.18.0.7", POLICY_INGRESS, IPPROTO_TCP,
     443, true},
    {"{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"198.18.0.7\",\"protocol\":\"tcp\",\"ports\":443}]}}", "198.18.0.8", POLICY_INGRESS, IPPROTO_TCP,
     443, false},
    {"{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"198.18.0.7\",\"protocol\":\"tcp\",\"ports\":443}]}}", "198.18.0.7", POLICY_INGRESS, IPPROTO_TCP,
     444, false},
    {"{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"2001:db8::/32\"}]}}", "2001:db8::7", POLICY_INGRESS, IPPROTO_TCP, 443, true},
    {"{\"ingress\":{\"default_action\":\"allow\",\"rules\":[{\"action\":\"deny\",\"from\":\"@caches\"}]}}", "198.18.1.1", POLICY_INGRESS, IPPROTO_ICMP, 0,
     false},
    {"{\"ingress\":{\"default_action\":\"allow\",\"rules\":[{\"action\":\"deny\",\"from\":\"@caches\"}]}}", "198.18.3.1", POLICY_INGRESS, IPPROTO_ICMP, 0,
     true},
};

static bool decided(const struct policy *policy, const struct kind *kind)
{
    struct policy_packet packet = {.protocol = kind->protocol, .port = kind->port};
    int rule = 0;
    ck_assert(ip_addr_parse(kind->remote, &packet.remote));
    return policy_decide(&policy->directions[kind->direction], &sets, &packet, &rule);
}

/* Each as the host-wide policy, and as the VM's under a host-wide one that allows everything. */
START_TEST(each_kind_of_rule)
{
    static const char open_text[] = "{\"ingress\":{\"default_action\":\"allow\"}}";
    struct policy open = policy_of(open_text);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct kind *kind = &kinds[i];
        struct policy policy = policy_of(kind->policy);
        ck_assert_msg(decided(&policy, kind) == kind->passes, "kind %zu: the evaluator differs: %s", i, kind->policy);
        set_policies(&policy, NULL);
        struct packet p = packet_of(kind->remote, kind->direction, kind->protocol, kind->port);
        ck_assert_msg(passes(&p) == kind->passes, "kind %zu, host-wide: %s, %s port %u", i, kind->policy, kind->remote, kind->port);
        set_policies(&open, &policy);
        p = packet_of(kind->remote, kind->direction, kind->protocol, kind->port);
        ck_assert_msg(passes(&p) == kind->passes, "kind %zu, of the VM: %s, %s port %u", i, kind->policy, kind->remote, kind->port);
        policy_free(&policy);
    }
    policy_free(&open);
}
END_TEST

START_TEST(a_vm_opens_nothing_that_the_host_closes)
{
    struct policy closed = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"198.18.0.0/16\"}]}}");
    struct policy open = policy_of("{\"egress\":{\"rules\":[{\"action\":\"allow\"}]}}");
    set_policies(&closed, &open);
    struct packet p = packet_of("198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(!passes(&p));
    p = packet_of("198.19.0.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(passes(&p));
    policy_free(&closed);
    policy_free(&open);
}
END_TEST

START_TEST(guests_reach_each_other_when_both_sides_say_so)
{
    struct policy closed = policy_of("{}");
    struct policy open = policy_of("{\"ingress\":{\"default_action\":\"allow\"}}");
    struct policy from_first = policy_of("{\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"172.30.0.2\"}]}}");
    struct policy no_neighbours = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"172.30.0.0/24\"}]}}");
    const struct {
        const struct policy *host, *first, *second;
        bool passes;
    } cases[] = {{&closed, NULL, NULL, false},         {&open, NULL, NULL, true},      {&open, NULL, &from_first, true},     {&open, NULL, &closed, false},
                 {&open, &no_neighbours, NULL, false}, {&closed, &open, &open, false}, {&open, &no_neighbours, &open, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct nft_policy_vm vms[] = {vm_of(0, cases[i].first), vm_of(1, cases[i].second)};
        const struct nft_policy_change change = {.sets = &sets, .host = cases[i].host, .vms = vms, .vm_count = 2};
        MUST(nft_policies_change(base.mark, &change, &err));
        struct packet p = packet_of("172.30.0.3", POLICY_EGRESS, IPPROTO_TCP, 80);
        ck_assert_msg(passes(&p) == cases[i].passes, "case %zu", i);
    }
    policy_free(&closed);
    policy_free(&open);
    policy_free(&from_first);
    policy_free(&no_neighbours);
}
END_TEST

/* Behind all rules, and before the default. */
START_TEST(a_published_port_is_open_but_for_rules)
{
    struct policy closed = policy_of("{}");
    struct policy not_from = policy_of("{\"ingress\":{\"rules\":[{\"action\":\"deny\",\"from\":\"198.18.0.9\"}]}}");
    netns_run("nft add table ip publish");
    netns_run("nft add chain ip publish prerouting { type nat hook prerouting priority -100 ; }");
    netns_run("nft add rule ip publish prerouting ip daddr 10.9.0.1 tcp dport 8080 dnat to 172.30.0.2:80");
    for (int own = 0; own < 2; own++) {
        set_policies(&not_from, own == 1 ? &closed : NULL);
        struct packet p = packet_of("198.18.0.1", POLICY_INGRESS, IPPROTO_TCP, 8080);
        ck_assert(!passes(&p)); /* the guest's port itself is not published */
        p = packet_of("198.18.0.1", POLICY_INGRESS, IPPROTO_TCP, 8080);
        p.destination = ip_addr_from_ipv4(0x0a090001);
        ck_assert(passes(&p));
        p = packet_of("198.18.0.9", POLICY_INGRESS, IPPROTO_TCP, 8080);
        p.destination = ip_addr_from_ipv4(0x0a090001);
        ck_assert(!passes(&p));
    }
    policy_free(&closed);
    policy_free(&not_from);
}
END_TEST

/* ---- what is there ---- */

static const char full_text[] =
    "{\"egress\":{\"default_action\":\"deny\",\"rules\":["
    "{\"action\":\"allow\",\"to\":[\"198.18.0.0/24\",\"198.18.9.9\",\"@caches\"],\"protocol\":\"tcp\",\"ports\":[22,\"80-90\"]},"
    "{\"action\":\"allow\",\"to\":\"2001:db8::/32\",\"protocol\":\"udp\",\"ports\":53},"
    "{\"action\":\"deny\",\"protocol\":\"udp\",\"ports\":[1,3,5,7,9,11,13,15,17]},"
    "{\"action\":\"deny\",\"to\":[\"198.18.0.1\",\"198.18.0.3\",\"198.18.0.5\",\"198.18.0.7\",\"198.18.0.9\",\"198.18.0.11\",\"198.18.0.13\","
    "\"198.18.0.15\",\"198.18.0.16\",\"198.18.0.18\"]}]},"
    "\"ingress\":{\"rules\":[{\"action\":\"allow\",\"from\":\"198.18.0.7\",\"protocol\":\"icmp\"}]}}";

/* Two networks, and a set of either version, with two ports each; one; one with a set of ports; one with a set of addresses; the default. */
enum { FULL_LINES = 4 + 4 + 1 + 1 + 1 + 1 };

START_TEST(nft_reads_it_back)
{
    struct policy host = policy_of("{}");
    struct policy vm = policy_of(full_text);
    static const char *const egress[] = {
        "tcp dport 22 ip daddr 198.18.0.0-198.18.0.255 counter packets 0 bytes 0 return",
        "tcp dport 80-90 ip daddr 198.18.9.9 counter",
        "tcp dport 22 ip daddr @addr4_caches counter",
        "tcp dport 80-90 ip6 daddr @addr6_caches counter",
        "udp dport 53 ip6 daddr 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff counter",
        "udp dport { 1, 3, 5, 7, 9, 11, 13, 15, 17 } counter",
        "ip daddr { 198.18.0.1, 198.18.0.3, 198.18.0.5, 198.18.0.7, 198.18.0.9, 198.18.0.11, 198.18.0.13, 198.18.0.15-198.18.0.16, 198.18.0.18 } counter",
        "counter packets 0 bytes 0 drop comment",
    };
    set_policies(&host, &vm);
    static char listing[OUTPUT_MAX];
    (void)netns_try("nft list chain inet smartvmtest vm_1_egress", listing);
    for (size_t i = 0; i < ARRAY_LEN(egress); i++) {
        ck_assert_msg(strstr(listing, egress[i]) != NULL, "%s is not in\n%s", egress[i], listing);
    }
    ck_assert_uint_eq(netns_count("nft -j list chain inet smartvmtest vm_1_egress", "{\"rule\":"), FULL_LINES);
    ck_assert(netns_says("nft list map inet smartvmtest egress4", "172.30.0.2 : jump vm_1_egress"));
    ck_assert(netns_says("nft list map inet smartvmtest ingress6", "fd30::2 : jump vm_1_ingress"));
    ck_assert(netns_says("nft list set inet smartvmtest addr4_caches", "198.18.1.0/24, 198.18.2.7"));
    ck_assert(netns_says("nft list set inet smartvmtest addr6_caches", "2001:db8:1::/48"));
    policy_free(&host);
    policy_free(&vm);
}
END_TEST

static const struct nft_policy_chain *chain_of(const struct nft_policies_seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->chain_count; i++) {
        if (strcmp(seen->chains[i].name, name) == 0) {
            return &seen->chains[i];
        }
    }
    return NULL;
}

static bool all_is_whole(const struct policy *host, const struct policy *vm)
{
    static const struct {
        const char *name;
        enum policy_direction_name direction;
        bool of_vm;
    } chains[] = {{"host_egress", POLICY_EGRESS, false},
                  {"host_ingress", POLICY_INGRESS, false},
                  {"vm_1_egress", POLICY_EGRESS, true},
                  {"vm_1_ingress", POLICY_INGRESS, true}};
    struct nft_policies_seen seen = {.tables = false};
    uint64_t digest = 0;
    MUST(nft_policies_look(base.mark, &seen, &err));
    bool whole = seen.tables && seen.chain_count == 4 && seen.element_count == 4 && seen.set_count == 2;
    for (size_t i = 0; i < ARRAY_LEN(chains) && whole; i++) {
        const struct nft_policy_chain *chain = chain_of(&seen, chains[i].name);
        MUST(nft_policy_digest(chains[i].of_vm ? vm : host, chains[i].direction, &sets, &digest, &err));
        whole = chain != NULL && chain->whole && chain->digest == digest && chain->uid == (chains[i].of_vm ? 1 : 0);
    }
    for (size_t i = 0; i < 4 && whole; i++) {
        whole = seen.elements[i].uid == 1;
    }
    for (size_t i = 0; i < 2 && whole; i++) {
        MUST(nft_address_set_digest(&set_list[i], &digest, &err));
        whole = seen.sets[i].digest == digest && seen.sets[i].v4 && seen.sets[i].v6 && strcmp(seen.sets[i].name, set_list[i].name) == 0;
    }
    nft_policies_seen_free(&seen);
    return whole;
}

static const char *const damages[] = {
    "nft flush chain inet smartvmtest vm_1_egress",
    "nft flush chain inet smartvmtest host_ingress",
    "nft insert rule inet smartvmtest vm_1_egress accept",
    "nft add rule inet smartvmtest host_egress accept comment mine",
    "nft delete element inet smartvmtest egress4 { 172.30.0.2 }",
    "nft delete element inet smartvmtest ingress6 { fd30::2 }",
    "nft add element inet smartvmtest egress4 { 172.30.0.99 : jump vm_1_egress }",
    "nft delete element inet smartvmtest addr4_caches { 198.18.2.7 }",
    "nft add element inet smartvmtest addr6_caches { 2001:db8:ffff::/48 }",
    "nft flush set inet smartvmtest addr4_caches",
    "nft add chain inet smartvmtest vm_9_egress",
    "nft add set inet smartvmtest addr4_other { type ipv4_addr ; flags interval ; }",
    "nft delete table inet smartvmtest",
    "nft flush ruleset",
};

START_TEST(damage_is_seen)
{
    struct policy host = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@caches\"}]}}");
    struct policy vm = policy_of(full_text);
    const struct nft_policy_vm vms[] = {vm_of(0, &vm)};
    const struct nft_policies policies = {.host = &host, .sets = &sets, .vms = vms, .vm_count = 1};
    struct nft_base with = base;
    with.policies = &policies;
    /* Tables that are remade have their policies from the first moment. */
    MUST(nft_base_apply(&with, uplink, 1, guests, GUESTS, &err));
    ck_assert(all_is_whole(&host, &vm));
    netns_run(damages[_i]);
    ck_assert_msg(!all_is_whole(&host, &vm), "%s", damages[_i]);
    MUST(nft_base_apply(&with, uplink, 1, guests, GUESTS, &err));
    ck_assert(all_is_whole(&host, &vm));
    policy_free(&host);
    policy_free(&vm);
}
END_TEST

START_TEST(every_rule_is_missed)
{
    struct policy host = policy_of("{}");
    struct policy vm = policy_of(full_text);
    static char listing[OUTPUT_MAX];
    size_t rule = 0;
    for (bool more = true; more; rule++) {
        char command[128];
        int handle = 0;
        set_policies(&host, &vm);
        ck_assert(all_is_whole(&host, &vm));
        (void)netns_try("nft -j -a list chain inet smartvmtest vm_1_egress", listing);
        const char *at = listing;
        for (size_t skip = 0; skip <= rule && at != NULL; skip++) {
            at = strstr(at + 1, "{\"rule\":");
        }
        more = at != NULL;
        if (more) {
            ck_assert(sscanf(strstr(at, "\"handle\": ") + 10, "%d", &handle) == 1);
            (void)snprintf(command, sizeof command, "nft delete rule inet smartvmtest vm_1_egress handle %d", handle);
            netns_run(command);
            ck_assert_msg(!all_is_whole(&host, &vm), "%s", command);
        }
    }
    ck_assert_uint_eq(rule, FULL_LINES + 1);
    policy_free(&host);
    policy_free(&vm);
}
END_TEST

START_TEST(rules_count)
{
    struct policy host = policy_of("{\"ingress\":{\"default_action\":\"allow\"}}");
    struct policy vm = policy_of(full_text);
    struct nft_counter *rules = NULL;
    struct nft_counter by_default = {0};
    size_t count = 0;
    bool there = false;
    set_policies(&host, &vm);
    const struct packet packets[] = {packet_of("198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 22), packet_of("198.18.1.1", POLICY_EGRESS, IPPROTO_TCP, 80),
                                     packet_of("198.18.9.9", POLICY_EGRESS, IPPROTO_TCP, 22), packet_of("2001:db8::9", POLICY_EGRESS, IPPROTO_UDP, 53),
                                     packet_of("198.18.9.9", POLICY_EGRESS, IPPROTO_TCP, 23), packet_of("198.18.9.9", POLICY_EGRESS, 253, 0)};
    for (size_t i = 0; i < ARRAY_LEN(packets); i++) {
        ck_assert_int_eq(passes(&packets[i]), i < 4);
    }
    MUST(nft_policy_counters(base.mark, 1, POLICY_EGRESS, &rules, &count, &by_default, &there, &err));
    ck_assert_uint_eq(count, 4);
    ck_assert_uint_eq(rules[0].packets, 3);
    ck_assert_uint_eq(rules[1].packets, 1);
    ck_assert_uint_eq(rules[1].bytes, 40 + 8 + 8);
    ck_assert_uint_eq(by_default.packets, 2);
    ck_assert(there);
    MUST(nft_policy_vm_is_there(base.mark, 1, &there, &err));
    ck_assert(there);
    MUST(nft_policy_vm_is_there(base.mark, 77, &there, &err));
    ck_assert(!there);
    free(rules);
    MUST(nft_policy_counters(base.mark, 77, POLICY_EGRESS, &rules, &count, &by_default, &there, &err)); /* no such chain */
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(by_default.packets, 0);
    ck_assert(!there);
    free(rules);
    policy_free(&host);
    policy_free(&vm);
}
END_TEST

/* ---- changes ---- */

/* The kernel's number of the chain's first rule. */
static int handle_of(const char *chain)
{
    static char listing[OUTPUT_MAX];
    char command[96];
    int handle = 0;
    (void)snprintf(command, sizeof command, "nft -j -a list chain inet smartvmtest %s", chain);
    (void)netns_try(command, listing);
    const char *rule = strstr(listing, "{\"rule\":");
    ck_assert(rule != NULL && sscanf(strstr(rule, "\"handle\": ") + 10, "%d", &handle) == 1);
    return handle;
}

START_TEST(a_set_changes_without_its_rules)
{
    struct policy host = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@caches\"}]}}");
    set_policies(&host, NULL);
    const int before = handle_of("host_egress");
    struct packet p = packet_of("198.18.1.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(!passes(&p));
    address_set_free(&set_list[0]);
    set_list[0] = set_of("caches", "[\"198.18.4.0/24\"]");
    refill();
    p = packet_of("198.18.1.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(passes(&p));
    p = packet_of("198.18.4.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(!passes(&p));
    p = packet_of("198.18.1.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(passes(&p));
    ck_assert_int_eq(handle_of("host_egress"), before); /* the rule is the one that it was */
    policy_free(&host);
}
END_TEST

START_TEST(a_set_in_use_stays)
{
    struct policy host = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@caches\"}]}}");
    struct policy none = policy_of("{}");
    const char *const names[] = {"caches"};
    set_policies(&host, NULL);
    struct nft_policy_change change = {.sets = &sets, .remove_sets = names, .remove_set_count = 1};
    ck_assert(nft_policies_change(base.mark, &change, &err) != 0);
    ck_assert_int_eq(err.code, ERR_FIREWALL_SETUP_FAILED);
    ck_assert(netns_says("nft list set inet smartvmtest addr4_caches", "198.18.1.0/24"));
    change.host = &none; /* in one batch with the rule that names it */
    MUST(nft_policies_change(base.mark, &change, &err));
    ck_assert(!netns_says("nft list table inet smartvmtest", "addr4_caches"));
    MUST(nft_policies_change(base.mark, &change, &err)); /* is gone already */
    policy_free(&host);
    policy_free(&none);
}
END_TEST

enum { LARGE = ADDRESS_SET_MAX };

START_TEST(a_set_of_ten_thousand)
{
    json_t *nets = json_array();
    for (int i = 0; i < LARGE; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "100.%d.%d.0/25", 64 + i / 250, i % 250);
        ck_assert(json_array_append_new(nets, json_string(text)) == 0);
    }
    address_set_free(&set_list[0]);
    MUST(address_set_parse("caches", nets, &set_list[0], &err));
    json_decref(nets);
    struct policy host = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@caches\"}]}}");
    set_policies(&host, NULL);
    const int64_t start = clock_monotonic_us();
    refill();
    (void)printf("nft_policy: a set of %d networks replaced in %.1f ms\n", LARGE, (double)(clock_monotonic_us() - start) / 1000);
    struct packet p = packet_of("100.103.249.127", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(!passes(&p));
    p = packet_of("100.103.249.128", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(passes(&p));
    policy_free(&host);
}
END_TEST

/* A VM comes and goes: the elements and chains of the others are not touched, as the kernel's own news say. */
START_TEST(others_are_left_alone)
{
    struct policy vm = policy_of(full_text);
    struct policy host = policy_of("{}");
    static char before[OUTPUT_MAX];
    static char after[OUTPUT_MAX];
    const struct nft_policy_vm first = vm_of(0, &vm);
    struct nft_policy_vm second = vm_of(1, &vm);
    struct nft_policy_change change = {.sets = &sets, .host = &host, .vms = &first, .vm_count = 1};
    MUST(nft_policies_change(base.mark, &change, &err));
    MUST(nft_guests_change(base.mark, NULL, 0, &guests[1], 1, NULL, &err));
    (void)netns_try("nft -a list table inet smartvmtest", before);
    change = (struct nft_policy_change){.sets = &sets, .vms = &second, .vm_count = 1};
    MUST(nft_guests_change(base.mark, &guests[1], 1, NULL, 0, &change, &err));
    ck_assert(netns_says("nft list map inet smartvmtest egress4", "172.30.0.3 : jump vm_2_egress"));
    ck_assert_uint_eq(netns_count("nft -j list map inet smartvmtest egress4", "\"target\": \"vm_"), 2);
    MUST(nft_guests_change(base.mark, &guests[1], 1, NULL, 0, &change, &err)); /* is there already */
    second.policy = NULL;
    MUST(nft_guests_change(base.mark, NULL, 0, &guests[1], 1, &change, &err));
    MUST(nft_guests_change(base.mark, NULL, 0, &guests[1], 1, &change, &err)); /* is gone already */
    (void)netns_try("nft -a list table inet smartvmtest", after);
    ck_assert_msg(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
    policy_free(&host);
    policy_free(&vm);
}
END_TEST

START_TEST(an_address_goes_to_who_claims_it)
{
    struct policy old = policy_of("{\"egress\":{\"default_action\":\"deny\"}}");
    struct policy new = policy_of("{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"198.18.0.1\"}]}}");
    struct nft_policy_vm before = vm_of(0, &old);
    struct nft_policy_vm after = vm_of(0, &new);
    struct nft_policy_change change = {.sets = &sets, .vms = &before, .vm_count = 1};
    before.uid = 100;
    after.uid = 101;
    MUST(nft_policies_change(base.mark, &change, &err));
    change.vms = &after;
    MUST(nft_policies_change(base.mark, &change, &err));
    struct packet p = packet_of("198.18.0.2", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(passes(&p));
    p = packet_of("198.18.0.1", POLICY_EGRESS, IPPROTO_TCP, 1);
    ck_assert(!passes(&p));
    before.policy = NULL; /* what goes takes the new owner's elements not with it */
    change.vms = &before;
    MUST(nft_policies_change(base.mark, &change, &err));
    ck_assert(netns_says("nft list map inet smartvmtest egress4", "172.30.0.2 : jump vm_101_egress"));
    ck_assert(!netns_says("nft list table inet smartvmtest", "vm_100_"));
    policy_free(&old);
    policy_free(&new);
}
END_TEST

START_TEST(without_tables)
{
    struct policy host = policy_of("{}");
    const struct nft_policy_change change = {.sets = &sets, .host = &host};
    struct nft_policies_seen seen = {.tables = true};
    struct nft_counter *rules = NULL;
    struct nft_counter by_default = {0};
    size_t count = 9;
    bool there = true;
    MUST(nft_base_remove(base.mark, &err));
    MUST(nft_policies_look(base.mark, &seen, &err));
    ck_assert(!seen.tables);
    ck_assert_uint_eq(seen.chain_count + seen.element_count + seen.set_count, 0);
    nft_policies_seen_free(&seen);
    MUST(nft_policy_counters(base.mark, 0, POLICY_EGRESS, &rules, &count, &by_default, &there, &err));
    ck_assert_uint_eq(count, 0);
    ck_assert(nft_policies_change(base.mark, &change, &err) != 0);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    policy_free(&host);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nft_policy");
    TCase *tcase = tcase_create("policies");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_kind_of_rule);
    tcase_add_test(tcase, a_vm_opens_nothing_that_the_host_closes);
    tcase_add_test(tcase, guests_reach_each_other_when_both_sides_say_so);
    tcase_add_test(tcase, a_published_port_is_open_but_for_rules);
    tcase_add_test(tcase, nft_reads_it_back);
    tcase_add_loop_test(tcase, damage_is_seen, 0, (int)ARRAY_LEN(damages));
    tcase_add_test(tcase, every_rule_is_missed);
    tcase_add_test(tcase, rules_count);
    tcase_add_test(tcase, a_set_changes_without_its_rules);
    tcase_add_test(tcase, a_set_in_use_stays);
    tcase_add_test(tcase, a_set_of_ten_thousand);
    tcase_add_test(tcase, others_are_left_alone);
    tcase_add_test(tcase, an_address_goes_to_who_claims_it);
    tcase_add_test(tcase, without_tables);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
