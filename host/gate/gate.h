/*
 * The gate: a second lock of the guests' network, outside of nftables. While the tables of host/nft/nft.h are there it stops no packet but those
 * with a checksum at a wrong place; when somebody takes them away (`nft flush ruleset`), nothing of guests gets through until they are back: a packet
 * needs marks that only they give.
 *
 * A packet on its way, and what it needs:
 *   bridge prerouting (nft)   puts JUDGED and, but for ARP, CLOSED on what comes from a TAP
 *   bridge device, ingress    (program) without JUDGED: dropped. JUDGED is taken off. A checksum that the guest left open, for the host to write, is
 *                             looked at (host/gate/in.c): where it would be written over what the firewall judges, the packet is dropped.
 *                             That needs a kernel that describes itself (host/gate/layout.c) and lets programs read its memory
 *   inet prerouting (nft)     takes CLOSED off what comes from the bridge, just before the routing
 *   routing (rules)           from the bridge with CLOSED: dropped. For the host itself the table of local addresses is asked first, which no rule
 *                             can stand before; but there the source is looked up the other way round, with the mark (rp_filter, src_valid_mark:
 *                             host/link/sysctl.h), and that finds the second rule. IPv6 has no such look-up
 *   inet forward (nft)        puts JUDGED on what goes to the bridge
 *   bridge device, egress     (program) without JUDGED: dropped, but for what the host itself sends. JUDGED is taken off
 * So neither mark is seen by anybody outside of this way. A chain sees the ruleset as a whole: each rule that marks stands in the same chain as those
 * that judge, before them.
 *
 * The programs are eBPF, in direct action, each the filter of the smallest preference on the bridge's clsact qdisc; the rules have the priority
 * GATE_RULE_PRIORITY and the protocol number ROUTE_PROTOCOL (host/link/route.h), and drop without an answer. All of it survives the daemon, and the
 * programs go with the bridge.
 *
 * Any thread may call. Error: FIREWALL_SETUP_FAILED, with the kernel's words.
 */
#ifndef SMARTVM_HOST_GATE_GATE_H
#define SMARTVM_HOST_GATE_GATE_H

#include "core/net_addr.h"

/* Bits of the packet mark. Nobody else may use them on packets to and from guests; all others are left as they are. */
#define GATE_MARK_JUDGED 0x04000000U
#define GATE_MARK_CLOSED 0x08000000U

enum {
    /*
     * Behind the table of local addresses and before what others number by themselves. Not right behind that table: a rule that is added without a
     * priority gets that of the second rule less one, so that wg-quick's two, for example, come before it, the later one first. With 1 both got 0, and
     * stood in the wrong order: the tunnel's table before the host's own networks.
     */
    GATE_RULE_PRIORITY = 64,
    GATE_RULE_PRIORITY_BEFORE = 1, /* of older versions: such rules are taken away */
    GATE_FOUND_MAX = 160,
};

struct gate {
    const char *bridge;
    struct ipv4_net subnet;
    bool ipv6; /* guests have it */
};

struct gate_seen {
    char found[GATE_FOUND_MAX];     /* the first thing that is not as it should be, in words; "" when all is well */
    char missing[GATE_FOUND_MAX];   /* what this kernel can't do, or does not let us do; "" mostly. That is no difference: nothing mends it */
    char unchecked[GATE_FOUND_MAX]; /* why open checksums are not looked at, while all else is there; "" mostly. Neither is that */
};

/* A bridge that is not there is told in `found`. */
int gate_check(const struct gate *gate, struct gate_seen *ret, struct error *err);

/* The routing rules of the bridge; its programs go with it. *ret_count: how many there were. */
int gate_remove(const char *bridge, size_t *ret_count, struct error *err);

/* Idempotent. What the kernel can't do is left out, and told by gate_check() from then on. */
int gate_apply(const struct gate *gate, struct error *err);

#endif
