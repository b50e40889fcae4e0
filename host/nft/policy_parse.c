#include "host/nft/policy_parse.h"

#include "core/array.h"

#include "host/nft/policy_put.h"

#include <arpa/inet.h>
#include <endian.h>
#include <inttypes.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum { COMMENT_TYPE = 0 /* NFTNL_UDATA_RULE_COMMENT */ };

struct nlmsghdr *nft_dump_request(char *buf, uint16_t type)
{
    return nftnl_nlmsg_build_hdr(buf, type, NFPROTO_INET, NLM_F_DUMP, 0);
}

struct nlmsghdr *nft_get_request(char *buf, uint16_t type, uint32_t seq)
{
    return nftnl_nlmsg_build_hdr(buf, type, NFPROTO_INET, 0, seq);
}

static const char *text_of(const struct nlattr *attr)
{
    return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(attr) : NULL;
}

int nft_parse_chain(const struct nlattr *attr, void *names)
{
    struct nft_chain_names *ret = names;
    if (mnl_attr_get_type(attr) == NFTA_CHAIN_TABLE) {
        ret->table = text_of(attr);
    } else if (mnl_attr_get_type(attr) == NFTA_CHAIN_NAME) {
        ret->chain = text_of(attr);
    }
    return MNL_CB_OK;
}

int nft_parse_set_name(const struct nlattr *attr, void *name)
{
    if (mnl_attr_get_type(attr) == NFTA_SET_NAME) {
        *(const char **)name = text_of(attr);
    }
    return MNL_CB_OK;
}

bool nft_parse_policy_chain(const char *name, int64_t *ret_uid, enum policy_direction_name *ret_direction)
{
    char made[NFT_POLICY_CHAIN_MAX];
    int64_t uid = 0;
    if (strncmp(name, "vm_", 3) == 0) {
        char *behind = NULL;
        uid = strtoll(name + 3, &behind, 10);
        if (uid <= 0 || *behind != '_') {
            return false;
        }
    }
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        /* Made again and compared, so that no other spelling of the number is taken for one of ours. */
        if (strcmp(nft_policy_chain_name(uid, (enum policy_direction_name)d, made), name) == 0) {
            *ret_uid = uid;
            *ret_direction = (enum policy_direction_name)d;
            return true;
        }
    }
    return false;
}

bool nft_policy_owns_chain(const char *name)
{
    int64_t uid = 0;
    enum policy_direction_name direction = POLICY_EGRESS;
    return nft_parse_policy_chain(name, &uid, &direction);
}

/* User data is a list of type, length and value, a byte each but for the value. */
static void read_comment(const struct nlattr *attr, struct nft_policy_rule_seen *rule)
{
    const uint8_t *data = mnl_attr_get_payload(attr);
    const size_t len = mnl_attr_get_payload_len(attr);
    char text[NFT_POLICY_COMMENT_MAX];
    char again[NFT_POLICY_COMMENT_MAX];
    for (size_t at = 0; at + 2 <= len && at + 2 + data[at + 1] <= len; at += 2U + data[at + 1]) {
        if (data[at] != COMMENT_TYPE || data[at + 1] == 0 || data[at + 1] > sizeof text) {
            continue;
        }
        memcpy(text, data + at + 2, data[at + 1]);
        text[data[at + 1] - 1] = '\0';
        rule->known = sscanf(text, "%16" SCNx64 " %zu/%zu r%d", &rule->digest, &rule->position, &rule->count, &rule->number) == 4;
        (void)snprintf(again, sizeof again, "%016" PRIx64 " %zu/%zu r%d", rule->digest, rule->position, rule->count, rule->number);
        rule->known = rule->known && strcmp(text, again) == 0;
    }
}

/* One expression of a rule: a counter, or something else. */
struct expression_seen {
    bool is_counter;
    struct nft_counter counter;
};

static int parse_counter(const struct nlattr *attr, void *ctx)
{
    struct nft_counter *counter = ctx;
    if (mnl_attr_validate(attr, MNL_TYPE_U64) != 0) {
        return MNL_CB_OK;
    }
    if (mnl_attr_get_type(attr) == NFTA_COUNTER_PACKETS) {
        counter->packets = be64toh(mnl_attr_get_u64(attr));
    } else if (mnl_attr_get_type(attr) == NFTA_COUNTER_BYTES) {
        counter->bytes = be64toh(mnl_attr_get_u64(attr));
    }
    return MNL_CB_OK;
}

static int parse_expression(const struct nlattr *attr, void *ctx)
{
    struct expression_seen *seen = ctx;
    if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME) {
        const char *name = text_of(attr);
        seen->is_counter = name != NULL && strcmp(name, "counter") == 0;
    } else if (mnl_attr_get_type(attr) == NFTA_EXPR_DATA && seen->is_counter) {
        return mnl_attr_parse_nested(attr, parse_counter, &seen->counter);
    }
    return MNL_CB_OK;
}

static int parse_expressions(const struct nlattr *attr, void *ctx)
{
    struct nft_policy_rule_seen *rule = ctx;
    struct expression_seen seen = {.is_counter = false};
    (void)mnl_attr_parse_nested(attr, parse_expression, &seen);
    if (seen.is_counter) {
        rule->counter = seen.counter;
    }
    return MNL_CB_OK;
}

int nft_parse_policy_rule(const struct nlattr *attr, void *rule)
{
    struct nft_policy_rule_seen *ret = rule;
    if (mnl_attr_get_type(attr) == NFTA_RULE_CHAIN) {
        ret->chain = text_of(attr);
    } else if (mnl_attr_get_type(attr) == NFTA_RULE_USERDATA) {
        read_comment(attr, ret);
    } else if (mnl_attr_get_type(attr) == NFTA_RULE_EXPRESSIONS) {
        return mnl_attr_parse_nested(attr, parse_expressions, ret);
    }
    return MNL_CB_OK;
}

struct element_reader {
    const struct nft_element_dump *elements;
};

static int parse_key(const struct nlattr *attr, void *ctx)
{
    struct nft_element_seen *element = ctx;
    if (mnl_attr_get_type(attr) == NFTA_DATA_VALUE) {
        element->key = mnl_attr_get_payload(attr);
        element->key_bytes = mnl_attr_get_payload_len(attr);
    }
    return MNL_CB_OK;
}

static int parse_verdict(const struct nlattr *attr, void *ctx)
{
    struct nft_element_seen *element = ctx;
    if (mnl_attr_get_type(attr) == NFTA_VERDICT_CODE && mnl_attr_validate(attr, MNL_TYPE_U32) == 0) {
        element->verdict = (int32_t)ntohl(mnl_attr_get_u32(attr));
    } else if (mnl_attr_get_type(attr) == NFTA_VERDICT_CHAIN) {
        element->chain = text_of(attr);
    }
    return MNL_CB_OK;
}

static int parse_data(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_DATA_VERDICT ? mnl_attr_parse_nested(attr, parse_verdict, ctx) : MNL_CB_OK;
}

static int parse_element(const struct nlattr *attr, void *ctx)
{
    struct nft_element_seen *element = ctx;
    if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_KEY) {
        return mnl_attr_parse_nested(attr, parse_key, element);
    }
    if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_DATA) {
        return mnl_attr_parse_nested(attr, parse_data, element);
    }
    if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_FLAGS && mnl_attr_validate(attr, MNL_TYPE_U32) == 0) {
        element->ends = (ntohl(mnl_attr_get_u32(attr)) & NFT_SET_ELEM_INTERVAL_END) != 0;
    }
    return MNL_CB_OK;
}

static int parse_list(const struct nlattr *attr, void *ctx)
{
    const struct element_reader *reader = ctx;
    struct nft_element_seen element = {.key = NULL};
    if (mnl_attr_get_type(attr) == NFTA_LIST_ELEM) {
        (void)mnl_attr_parse_nested(attr, parse_element, &element);
    }
    if (element.key != NULL) {
        reader->elements->each(&element, reader->elements->ctx);
    }
    return MNL_CB_OK;
}

static int parse_elements(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS ? mnl_attr_parse_nested(attr, parse_list, ctx) : MNL_CB_OK;
}

static void read_elements(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), parse_elements, ctx);
}

static void begin_elements(void *ctx)
{
    const struct element_reader *reader = ctx;
    reader->elements->begin(reader->elements->ctx);
}

static bool elements_have_doubles(void *ctx)
{
    const struct element_reader *reader = ctx;
    return reader->elements->has_doubles(reader->elements->ctx);
}

int nft_dump_elements(struct mnl_socket *nl, const char *mark, const char *set, const struct nft_element_dump *elements)
{
    char buf[NFT_REQUEST_MAX];
    struct element_reader reader = {.elements = elements};
    const struct nft_dump dump = {
        .begin = begin_elements, .each = read_elements, .has_doubles = elements->has_doubles == NULL ? NULL : elements_have_doubles, .ctx = &reader};
    return nft_dump(nl, nft_elements_request(buf, NFPROTO_INET, mark, set), &dump);
}

bool nft_set_ends_add(struct nft_set_ends *ends, const uint8_t *key, size_t key_bytes, bool second)
{
    uint8_t *grown = array_grow(ends->bytes, ends->count, NFT_SET_END_BYTES);
    if (grown == NULL) {
        return false;
    }
    ends->bytes = grown;
    uint8_t *end = ends->bytes + ends->count++ * NFT_SET_END_BYTES;
    memset(end, 0, NFT_SET_END_BYTES);
    memcpy(end, key, key_bytes < NFT_SET_END_BYTES ? key_bytes : NFT_SET_END_BYTES - 1);
    end[NFT_SET_END_BYTES - 1] = second;
    return true;
}

static int compare_ends(const void *a, const void *b)
{
    return memcmp(a, b, NFT_SET_END_BYTES);
}

/* FNV-1a; it tells contents apart and guards nothing. */
uint64_t nft_set_ends_digest(struct nft_set_ends *ends, uint8_t version, uint64_t before)
{
    uint64_t digest = (before ^ version) * 0x100000001b3;
    if (ends->count > 0) {
        qsort(ends->bytes, ends->count, NFT_SET_END_BYTES, compare_ends);
    }
    for (size_t i = 0; i < ends->count * NFT_SET_END_BYTES; i++) {
        digest = (digest ^ ends->bytes[i]) * 0x100000001b3;
    }
    return digest;
}
