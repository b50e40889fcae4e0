#include "host/nft/expr.h"

#include <stdio.h> /* libnftnl's headers need it */
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

struct nftnl_expr *nft_expr_add(struct nft_rule_builder *b, const char *name)
{
    struct nftnl_expr *expr = b->failed ? NULL : nftnl_expr_alloc(name);
    if (expr == NULL) {
        b->failed = true;
        return NULL;
    }
    nftnl_rule_add_expr(b->rule, expr);
    b->last = expr;
    return expr;
}

static void set_data(struct nft_rule_builder *b, struct nftnl_expr *expr, uint16_t attr, const void *data, size_t len)
{
    if (nftnl_expr_set(expr, attr, data, (uint32_t)len) != 0) {
        b->failed = true;
    }
}

void nft_expr_meta(struct nft_rule_builder *b, uint32_t key, uint32_t reg)
{
    struct nftnl_expr *e = nft_expr_add(b, "meta");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
    }
}

void nft_expr_payload(struct nft_rule_builder *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg)
{
    struct nftnl_expr *e = nft_expr_add(b, "payload");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, header);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
    }
}

void nft_expr_cmp(struct nft_rule_builder *b, uint32_t op, const void *data, size_t len)
{
    struct nftnl_expr *e = nft_expr_add(b, "cmp");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
        set_data(b, e, NFTNL_EXPR_CMP_DATA, data, len);
    }
}

static void mask_and_flip(struct nft_rule_builder *b, uint32_t mask, uint32_t flip)
{
    struct nftnl_expr *e = nft_expr_add(b, "bitwise");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof mask);
        set_data(b, e, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof mask);
        set_data(b, e, NFTNL_EXPR_BITWISE_XOR, &flip, sizeof flip);
    }
}

void nft_expr_mask(struct nft_rule_builder *b, uint32_t bits)
{
    mask_and_flip(b, bits, 0);
}

void nft_expr_byte_bits(struct nft_rule_builder *b, uint32_t op, uint32_t header, uint32_t offset, uint8_t bits)
{
    const union {
        uint8_t bytes[4];
        uint32_t word;
    } mask = {{bits}};
    const uint32_t none = 0;
    nft_expr_payload(b, header, offset, sizeof bits, NFT_REG_1);
    nft_expr_mask(b, mask.word);
    nft_expr_cmp(b, op, &none, sizeof none);
}

static void store_mark(struct nft_rule_builder *b)
{
    struct nftnl_expr *e = nft_expr_add(b, "meta");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_MARK);
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, NFT_REG_1);
    }
}

void nft_expr_mark(struct nft_rule_builder *b, uint32_t off, uint32_t on)
{
    nft_expr_meta(b, NFT_META_MARK, NFT_REG_1);
    mask_and_flip(b, ~(off | on), on);
    store_mark(b);
}

static void lookup(struct nft_rule_builder *b, const char *set, uint32_t flags)
{
    struct nftnl_expr *e = nft_expr_add(b, "lookup");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
        b->failed = nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set) != 0 || b->failed;
    }
}

void nft_expr_in_set(struct nft_rule_builder *b, const char *set)
{
    lookup(b, set, 0);
}

void nft_expr_not_in_set(struct nft_rule_builder *b, const char *set)
{
    lookup(b, set, NFT_LOOKUP_F_INV);
}

void nft_expr_verdict_of(struct nft_rule_builder *b, const char *map)
{
    nft_expr_in_set(b, map);
    struct nftnl_expr *e = b->failed ? NULL : b->last;
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
    }
}

void nft_expr_verdict(struct nft_rule_builder *b, uint32_t value)
{
    struct nftnl_expr *e = nft_expr_add(b, "immediate");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, value);
    }
}

void nft_expr_branch(struct nft_rule_builder *b, int32_t verdict, const char *chain)
{
    nft_expr_verdict(b, (uint32_t)verdict);
    struct nftnl_expr *e = b->failed ? NULL : b->last;
    if (e != NULL && nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain) != 0) {
        b->failed = true;
    }
}

void nft_expr_count_and_drop(struct nft_rule_builder *b)
{
    (void)nft_expr_add(b, "counter");
    nft_expr_verdict(b, NF_DROP);
}

void nft_expr_drop(struct nft_rule_builder *b, enum nft_drop_reason reason)
{
    const uint32_t number = reason;
    struct nftnl_expr *value = nft_expr_add(b, "immediate");
    if (value != NULL) {
        nftnl_expr_set_u32(value, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
        set_data(b, value, NFTNL_EXPR_IMM_DATA, &number, sizeof number);
    }
    store_mark(b);
    nft_expr_branch(b, NFT_GOTO, "dropped");
}

/* An element's state, which becomes the dynset's. */
static struct nftnl_expr *element_state(struct nft_rule_builder *b, const char *name)
{
    struct nftnl_expr *state = b->failed ? NULL : nftnl_expr_alloc(name);
    b->failed = b->failed || state == NULL;
    return state;
}

static void dynset(struct nft_rule_builder *b, const char *set, struct nftnl_expr *state)
{
    struct nftnl_expr *e = state == NULL ? NULL : nft_expr_add(b, "dynset");
    if (e == NULL) {
        if (state != NULL) {
            nftnl_expr_free(state);
        }
        return;
    }
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_ADD);
    nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
    b->failed = nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, set) != 0 || b->failed;
    (void)nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, state, 0);
}

void nft_expr_count_in(struct nft_rule_builder *b, const char *set)
{
    dynset(b, set, element_state(b, "counter"));
}

void nft_expr_rate_in(struct nft_rule_builder *b, const char *set, uint64_t per_second, uint32_t burst)
{
    struct nftnl_expr *state = element_state(b, "limit");
    if (state != NULL) {
        nftnl_expr_set_u64(state, NFTNL_EXPR_LIMIT_RATE, per_second);
        nftnl_expr_set_u64(state, NFTNL_EXPR_LIMIT_UNIT, 1); /* second */
        nftnl_expr_set_u32(state, NFTNL_EXPR_LIMIT_BURST, burst);
        nftnl_expr_set_u32(state, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
    }
    dynset(b, set, state);
}

void nft_expr_flows_in(struct nft_rule_builder *b, const char *set, uint32_t max)
{
    struct nftnl_expr *state = element_state(b, "connlimit");
    if (state != NULL) {
        nftnl_expr_set_u32(state, NFTNL_EXPR_CONNLIMIT_COUNT, max);
    }
    dynset(b, set, state);
}

static void compare_interface(struct nft_rule_builder *b, uint32_t key, uint32_t op, const char *name)
{
    char padded[NFT_IFNAME_BYTES] = {0};
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    nft_expr_meta(b, key, NFT_REG_1);
    nft_expr_cmp(b, op, padded, sizeof padded);
}

void nft_expr_interface_is(struct nft_rule_builder *b, uint32_t key, const char *name)
{
    compare_interface(b, key, NFT_CMP_EQ, name);
}

void nft_expr_interface_is_not(struct nft_rule_builder *b, uint32_t key, const char *name)
{
    compare_interface(b, key, NFT_CMP_NEQ, name);
}

void nft_expr_l4proto_is(struct nft_rule_builder *b, uint8_t protocol)
{
    nft_expr_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &protocol, sizeof protocol);
}

static void nfproto_is(struct nft_rule_builder *b, uint8_t protocol)
{
    nft_expr_meta(b, NFT_META_NFPROTO, NFT_REG_1);
    nft_expr_cmp(b, NFT_CMP_EQ, &protocol, sizeof protocol);
}

void nft_expr_is_ipv4(struct nft_rule_builder *b)
{
    nfproto_is(b, NFPROTO_IPV4);
}

void nft_expr_is_ipv6(struct nft_rule_builder *b)
{
    nfproto_is(b, NFPROTO_IPV6);
}

void nft_expr_ipv4_in(struct nft_rule_builder *b, uint32_t offset, struct ipv4_net net)
{
    const uint32_t address = htonl(net.address);
    nft_expr_is_ipv4(b);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, sizeof address, NFT_REG_1);
    if (net.prefix < 32) {
        nft_expr_mask(b, htonl(ipv4_mask(net.prefix)));
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &address, sizeof address);
}

void nft_expr_has_fragment_header(struct nft_rule_builder *b)
{
    const uint8_t yes = 1;
    struct nftnl_expr *e = nft_expr_add(b, "exthdr");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV6);
        nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, IPPROTO_FRAGMENT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OFFSET, 0);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_LEN, 1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_FLAGS, NFT_EXTHDR_F_PRESENT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_DREG, NFT_REG_1);
    }
    nft_expr_cmp(b, NFT_CMP_EQ, &yes, sizeof yes);
}

static void load_ct(struct nft_rule_builder *b, uint32_t key)
{
    struct nftnl_expr *e = nft_expr_add(b, "ct");
    if (e != NULL) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    }
}

void nft_expr_ct_state(struct nft_rule_builder *b, uint32_t bits)
{
    const uint32_t none = 0;
    load_ct(b, NFT_CT_STATE);
    nft_expr_mask(b, bits);
    nft_expr_cmp(b, NFT_CMP_NEQ, &none, sizeof none);
}

void nft_expr_ct_confirmed(struct nft_rule_builder *b)
{
    const uint32_t wanted = IPS_CONFIRMED;
    load_ct(b, NFT_CT_STATUS);
    nft_expr_mask(b, IPS_CONFIRMED);
    nft_expr_cmp(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

void nft_expr_ct_translated(struct nft_rule_builder *b)
{
    const uint32_t wanted = IPS_DST_NAT;
    load_ct(b, NFT_CT_STATUS);
    nft_expr_mask(b, IPS_DST_NAT | IPS_EXPECTED);
    nft_expr_cmp(b, NFT_CMP_EQ, &wanted, sizeof wanted);
}

void nft_expr_from_tap(struct nft_rule_builder *b, const struct nft_base *base, uint32_t op)
{
    nft_expr_meta(b, NFT_META_IIFNAME, NFT_REG_1);
    nft_expr_cmp(b, op, base->tap_prefix, strlen(base->tap_prefix));
}
