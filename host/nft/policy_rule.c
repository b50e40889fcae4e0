/*
 * A line of a policy as the message of a rule. Written attribute by attribute: a change of a thousand policies is some ten thousand rules, and
 * this takes a tenth of the time that it takes to make objects of them first.
 */
#include "host/nft/policy_rule.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

enum {
    IPV4_SOURCE_AT = 12,
    IPV4_DESTINATION_AT = 16,
    IPV6_SOURCE_AT = 8,
    IPV6_DESTINATION_AT = 24,
    PORT_AT = 2,
    COMMENT_TYPE = 0, /* NFTNL_UDATA_RULE_COMMENT: what nft shows behind "comment" */
};

/* One expression: its name, and its attributes between begin and end. */
struct expression {
    struct nlattr *element, *data;
};

static struct expression begin(struct nlmsghdr *h, const char *name)
{
    struct expression e = {.element = mnl_attr_nest_start(h, NFTA_LIST_ELEM)};
    mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
    e.data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
    return e;
}

static void end(struct nlmsghdr *h, struct expression e)
{
    mnl_attr_nest_end(h, e.data);
    mnl_attr_nest_end(h, e.element);
}

static void put_value(struct nlmsghdr *h, uint16_t attr, const void *value, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(h, attr);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, value);
    mnl_attr_nest_end(h, nest);
}

/* All expressions work on register 1. */
static void load_meta(struct nlmsghdr *h, uint32_t key)
{
    struct expression e = begin(h, "meta");
    mnl_attr_put_u32(h, NFTA_META_KEY, htonl(key));
    mnl_attr_put_u32(h, NFTA_META_DREG, htonl(NFT_REG_1));
    end(h, e);
}

static void load_payload(struct nlmsghdr *h, uint32_t header, uint32_t offset, uint32_t len)
{
    struct expression e = begin(h, "payload");
    mnl_attr_put_u32(h, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
    mnl_attr_put_u32(h, NFTA_PAYLOAD_BASE, htonl(header));
    mnl_attr_put_u32(h, NFTA_PAYLOAD_OFFSET, htonl(offset));
    mnl_attr_put_u32(h, NFTA_PAYLOAD_LEN, htonl(len));
    end(h, e);
}

static void compare(struct nlmsghdr *h, uint32_t op, const void *value, size_t len)
{
    struct expression e = begin(h, "cmp");
    mnl_attr_put_u32(h, NFTA_CMP_SREG, htonl(NFT_REG_1));
    mnl_attr_put_u32(h, NFTA_CMP_OP, htonl(op));
    put_value(h, NFTA_CMP_DATA, value, len);
    end(h, e);
}

static void is_between(struct nlmsghdr *h, const void *first, const void *last, size_t len)
{
    if (memcmp(first, last, len) == 0) {
        compare(h, NFT_CMP_EQ, first, len);
        return;
    }
    struct expression e = begin(h, "range");
    mnl_attr_put_u32(h, NFTA_RANGE_SREG, htonl(NFT_REG_1));
    mnl_attr_put_u32(h, NFTA_RANGE_OP, htonl(NFT_RANGE_EQ));
    put_value(h, NFTA_RANGE_FROM_DATA, first, len);
    put_value(h, NFTA_RANGE_TO_DATA, last, len);
    end(h, e);
}

static void is_in(struct nlmsghdr *h, const char *set, uint32_t id)
{
    struct expression e = begin(h, "lookup");
    mnl_attr_put_u32(h, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
    mnl_attr_put_strz(h, NFTA_LOOKUP_SET, set);
    if (id != 0) {
        mnl_attr_put_u32(h, NFTA_LOOKUP_SET_ID, htonl(id));
    }
    end(h, e);
}

/* `chain` (may be NULL) is where NFT_GOTO goes. */
static void count_and(struct nlmsghdr *h, int32_t verdict, const char *chain)
{
    end(h, begin(h, "counter"));
    struct expression e = begin(h, "immediate");
    mnl_attr_put_u32(h, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
    struct nlattr *data = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)verdict));
    if (chain != NULL) {
        mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
    }
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, data);
    end(h, e);
}

static void put_address(struct nlmsghdr *h, const struct nft_policy_line *line, enum policy_direction_name direction, uint32_t set_id)
{
    static const uint32_t offsets[2][POLICY_DIRECTION_COUNT_] = {{[POLICY_EGRESS] = IPV4_DESTINATION_AT, [POLICY_INGRESS] = IPV4_SOURCE_AT},
                                                                 {[POLICY_EGRESS] = IPV6_DESTINATION_AT, [POLICY_INGRESS] = IPV6_SOURCE_AT}};
    const bool v4 = line->version == IP_V4;
    const uint8_t nfproto = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    const uint32_t len = v4 ? 4 : 16;
    char name[ADDRESS_SET_NAME_MAX + 8];
    load_meta(h, NFT_META_NFPROTO);
    compare(h, NFT_CMP_EQ, &nfproto, sizeof nfproto);
    if (line->set == NULL && line->range_count == 0) {
        return;
    }
    load_payload(h, NFT_PAYLOAD_NETWORK_HEADER, offsets[v4 ? 0 : 1][direction], len);
    if (line->set != NULL) {
        is_in(h, nft_address_set_name(line->version, line->set, name, sizeof name), 0);
    } else if (line->range_count == 1) {
        is_between(h, line->ranges[0].first.bytes, line->ranges[0].last.bytes, len);
    } else {
        is_in(h, NFT_ANONYMOUS_SET, set_id);
    }
}

static void put_ports(struct nlmsghdr *h, const struct nft_policy_line *line, uint32_t set_id)
{
    load_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_AT, sizeof(uint16_t));
    if (line->port_count == 1) {
        const uint16_t first = htons(line->ports[0].first);
        const uint16_t last = htons(line->ports[0].last);
        is_between(h, &first, &last, sizeof first);
    } else {
        is_in(h, NFT_ANONYMOUS_SET, set_id);
    }
}

/* The packet's flow was translated (nft_expr_ct_translated()), and was sent to this port before that. */
static void put_host_port(struct nlmsghdr *h, uint16_t host_port)
{
    const uint32_t translated = IPS_DST_NAT;
    const uint32_t looked_at = IPS_DST_NAT | IPS_EXPECTED;
    const uint32_t none = 0;
    const uint16_t port = htons(host_port);
    struct expression e = begin(h, "ct");
    mnl_attr_put_u32(h, NFTA_CT_KEY, htonl(NFT_CT_STATUS));
    mnl_attr_put_u32(h, NFTA_CT_DREG, htonl(NFT_REG_1));
    end(h, e);
    e = begin(h, "bitwise");
    mnl_attr_put_u32(h, NFTA_BITWISE_SREG, htonl(NFT_REG_1));
    mnl_attr_put_u32(h, NFTA_BITWISE_DREG, htonl(NFT_REG_1));
    mnl_attr_put_u32(h, NFTA_BITWISE_LEN, htonl(sizeof looked_at));
    put_value(h, NFTA_BITWISE_MASK, &looked_at, sizeof looked_at);
    put_value(h, NFTA_BITWISE_XOR, &none, sizeof none);
    end(h, e);
    compare(h, NFT_CMP_EQ, &translated, sizeof translated);
    e = begin(h, "ct");
    mnl_attr_put_u32(h, NFTA_CT_KEY, htonl(NFT_CT_PROTO_DST));
    mnl_attr_put_u32(h, NFTA_CT_DREG, htonl(NFT_REG_1));
    mnl_attr_put_u8(h, NFTA_CT_DIRECTION, IP_CT_DIR_ORIGINAL);
    end(h, e);
    compare(h, NFT_CMP_EQ, &port, sizeof port);
}

static void put_comment(struct nlmsghdr *h, const struct nft_policy_lines *lines, size_t position)
{
    uint8_t data[2 + NFT_POLICY_COMMENT_MAX] = {COMMENT_TYPE};
    const struct nft_policy_line *line = &lines->lines[position];
    int len = snprintf((char *)data + 2, NFT_POLICY_COMMENT_MAX, "%016" PRIx64 " %zu/%zu r%d", lines->digest, position, lines->count, line->rule);
    data[1] = (uint8_t)(len + 1);
    mnl_attr_put(h, NFTA_RULE_USERDATA, (size_t)len + 3, data);
}

/* The first comparison is the one that most packets fail. */
static void put_matches(struct nlmsghdr *h, const struct nft_policy_line *line, enum policy_direction_name direction, const uint32_t set_ids[2])
{
    if (line->protocol != 0) {
        load_meta(h, NFT_META_L4PROTO);
        compare(h, NFT_CMP_EQ, &line->protocol, sizeof line->protocol);
    }
    if (line->port_count > 0) {
        put_ports(h, line, set_ids[1]);
    }
    if (line->host_port != 0) {
        put_host_port(h, line->host_port);
    }
    if (line->version != IP_NONE) {
        put_address(h, line, direction, set_ids[0]);
    }
}

void nft_put_policy_rule(struct nft_batch *b, const char *mark, const char *chain, enum policy_direction_name direction, const struct nft_policy_lines *lines,
                         size_t position)
{
    const struct nft_policy_line *line = &lines->lines[position];
    uint32_t set_ids[2] = {0};
    if (line->range_count > 1) {
        set_ids[0] = NFT_POLICY_FIRST_SET_ID + (uint32_t)b->count;
        nft_put_range_set(b, mark, line->ranges, line->range_count, set_ids[0]);
    }
    if (line->port_count > 1) {
        set_ids[1] = NFT_POLICY_FIRST_SET_ID + (uint32_t)b->count;
        nft_put_port_set(b, mark, line->ports, line->port_count, set_ids[1]);
    }
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND, "rule %zu of chain %s", position, chain);
    if (h == NULL) {
        return;
    }
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, mark);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    struct nlattr *expressions = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
    put_matches(h, line, direction, set_ids);
    if (line->but_published) {
        count_and(h, NFT_GOTO, NFT_POLICY_UNPUBLISHED_CHAIN);
    } else {
        count_and(h, line->allow ? NFT_RETURN : NF_DROP, NULL);
    }
    mnl_attr_nest_end(h, expressions);
    put_comment(h, lines, position);
    nft_batch_close(b);
}
