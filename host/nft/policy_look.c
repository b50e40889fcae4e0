/* The policies as the kernel has them: chains by the comments of their rules, elements of the maps, and address sets. */
#include "host/nft/policy_parse.h"

#include "core/array.h"
#include "host/nft/policy_put.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

struct look {
    struct mnl_socket *nl;
    const char *mark;
    struct nft_policies_seen *seen;
    bool failed; /* out of memory */
    /* while a map or a set is read */
    enum policy_direction_name direction;
    struct nft_set_ends ends;
    size_t key_bytes;
    size_t elements_before; /* of the maps that were read earlier */
};

static int compare_chains(const void *a, const void *b)
{
    const struct nft_policy_chain *x = a;
    const struct nft_policy_chain *y = b;
    return x->uid != y->uid ? (x->uid < y->uid ? -1 : 1) : (int)x->direction - (int)y->direction;
}

static void read_chain(const struct nlmsghdr *h, void *ctx)
{
    struct look *look = ctx;
    struct nft_chain_names names = {NULL, NULL};
    struct nft_policy_chain chain = {.whole = false};
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), nft_parse_chain, &names);
    if (names.table == NULL || names.chain == NULL || strcmp(names.table, look->mark) != 0 ||
        !nft_parse_policy_chain(names.chain, &chain.uid, &chain.direction)) {
        return;
    }
    (void)nft_policy_chain_name(chain.uid, chain.direction, chain.name);
    struct nft_policy_chain *grown = array_grow(look->seen->chains, look->seen->chain_count, sizeof chain);
    if (grown == NULL) {
        look->failed = true;
        return;
    }
    look->seen->chains = grown;
    grown[look->seen->chain_count++] = chain;
}

/* Rules come in order. While they are read, a chain that is whole so far has `whole` set from its first rule on. */
struct rules {
    struct look *look;
    struct nft_policy_chain *chain; /* the one that was looked at last */
    size_t position, count;         /* in it */
};

static void end_chain(struct rules *rules)
{
    if (rules->chain != NULL) {
        rules->chain->whole = rules->chain->whole && rules->position == rules->count;
    }
}

static void read_rule(const struct nlmsghdr *h, void *ctx)
{
    struct rules *rules = ctx;
    struct nft_policy_rule_seen rule = {.chain = NULL};
    struct nft_policy_chain key = {.uid = 0};
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), nft_parse_policy_rule, &rule);
    if (rule.chain == NULL || !nft_parse_policy_chain(rule.chain, &key.uid, &key.direction)) {
        return;
    }
    if (rules->chain == NULL || compare_chains(rules->chain, &key) != 0) {
        end_chain(rules);
        rules->chain = bsearch(&key, rules->look->seen->chains, rules->look->seen->chain_count, sizeof key, compare_chains);
        rules->position = 0;
        rules->count = rule.count;
        if (rules->chain != NULL) {
            rules->chain->whole = rule.known;
            rules->chain->digest = rule.digest;
        }
    }
    if (rules->chain != NULL) {
        rules->chain->whole =
            rules->chain->whole && rule.known && rule.digest == rules->chain->digest && rule.position == rules->position++ && rule.count == rules->count;
    }
}

static void read_map_element(const struct nft_element_seen *element, void *ctx)
{
    struct look *look = ctx;
    struct nft_policy_element new = {.direction = look->direction};
    enum policy_direction_name direction = POLICY_DIRECTION_COUNT_;
    int64_t uid = 0;
    if (element->key_bytes < look->key_bytes) {
        return;
    }
    new.address.version = look->key_bytes == 4 ? IP_V4 : IP_V6;
    memcpy(new.address.bytes, element->key, look->key_bytes);
    if (element->verdict == NFT_JUMP && element->chain != NULL && nft_parse_policy_chain(element->chain, &uid, &direction) && direction == look->direction) {
        new.uid = uid;
    }
    struct nft_policy_element *grown = array_grow(look->seen->elements, look->seen->element_count, sizeof new);
    if (grown == NULL) {
        look->failed = true;
        return;
    }
    look->seen->elements = grown;
    grown[look->seen->element_count++] = new;
}

static void read_set_element(const struct nft_element_seen *element, void *ctx)
{
    struct look *look = ctx;
    if (element->key_bytes >= look->key_bytes && !nft_set_ends_add(&look->ends, element->key, look->key_bytes, element->ends)) {
        look->failed = true;
    }
}

static void read_set(const struct nlmsghdr *h, void *ctx)
{
    struct look *look = ctx;
    const char *name = NULL;
    bool v4 = false;
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), nft_parse_set_name, &name);
    if (name == NULL || strlen(name) < 6 || strlen(name + 6) >= ADDRESS_SET_NAME_MAX || strncmp(name, "addr", 4) != 0 || name[5] != '_' ||
        (name[4] != '4' && name[4] != '6')) {
        return;
    }
    v4 = name[4] == '4';
    struct nft_policy_set *set = NULL;
    for (size_t i = 0; i < look->seen->set_count && set == NULL; i++) {
        set = strcmp(look->seen->sets[i].name, name + 6) == 0 ? &look->seen->sets[i] : NULL;
    }
    if (set == NULL) {
        struct nft_policy_set *grown = array_grow(look->seen->sets, look->seen->set_count, sizeof *grown);
        if (grown == NULL) {
            look->failed = true;
            return;
        }
        look->seen->sets = grown;
        set = &grown[look->seen->set_count++];
        *set = (struct nft_policy_set){.v4 = false};
        memcpy(set->name, name + 6, strlen(name + 6) + 1);
    }
    set->v4 = set->v4 || v4;
    set->v6 = set->v6 || !v4;
}

static int compare_elements(const void *a, const void *b)
{
    const struct nft_policy_element *x = a;
    const struct nft_policy_element *y = b;
    if (x->direction != y->direction) {
        return (int)x->direction - (int)y->direction;
    }
    return memcmp(&x->address, &y->address, sizeof x->address);
}

static int compare_in_map(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return compare_elements(a, b);
}

static void forget_chains(void *ctx)
{
    ((struct look *)ctx)->seen->chain_count = 0;
}

static void forget_sets(void *ctx)
{
    ((struct look *)ctx)->seen->set_count = 0;
}

static void forget_map(void *ctx)
{
    struct look *look = ctx;
    look->seen->element_count = look->elements_before;
}

static void forget_ends(void *ctx)
{
    ((struct look *)ctx)->ends.count = 0;
}

static void forget_rules(void *ctx)
{
    struct rules *rules = ctx;
    struct look *look = rules->look;
    *rules = (struct rules){.look = look};
    for (size_t i = 0; i < look->seen->chain_count; i++) {
        look->seen->chains[i].whole = false;
    }
}

static bool drop_doubles_of_map(void *ctx)
{
    struct look *look = ctx;
    struct nft_policies_seen *seen = look->seen;
    const size_t shown = seen->element_count - look->elements_before;
    const size_t left = shown == 0 ? 0 : nft_sort_unique(seen->elements + look->elements_before, shown, sizeof *seen->elements, compare_in_map, NULL);
    seen->element_count = look->elements_before + left;
    return left < shown;
}

/* Chains, or the sets of our table. */
static int dump(struct look *look, uint16_t type, uint16_t table_attr, void (*begin)(void *ctx), void (*each)(const struct nlmsghdr *h, void *ctx))
{
    char buf[NFT_REQUEST_MAX];
    const struct nft_dump dump = {.begin = begin, .each = each, .ctx = look};
    struct nlmsghdr *h = nft_dump_request(buf, type);
    if (table_attr != 0) {
        mnl_attr_put_strz(h, table_attr, look->mark);
    }
    return nft_dump(look->nl, h, &dump);
}

static int look_at_rules(struct look *look)
{
    char buf[NFT_REQUEST_MAX];
    struct rules rules = {.look = look};
    const struct nft_dump dump = {.begin = forget_rules, .each = read_rule, .ctx = &rules};
    struct nlmsghdr *h = nft_dump_request(buf, NFT_MSG_GETRULE);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, look->mark);
    int result = nft_dump(look->nl, h, &dump);
    end_chain(&rules);
    return result;
}

static int look_at_maps(struct look *look)
{
    const struct nft_element_dump dump = {.begin = forget_map, .each = read_map_element, .has_doubles = drop_doubles_of_map, .ctx = look};
    int result = 0;
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_ && result == 0; d++) {
        for (size_t v = 0; v < 2 && result == 0; v++) {
            look->direction = (enum policy_direction_name)d;
            look->key_bytes = v == 0 ? 4 : 16;
            look->elements_before = look->seen->element_count;
            result = nft_dump_elements(look->nl, look->mark, nft_policy_maps[d][v], &dump);
        }
    }
    return result;
}

static int look_at_set(struct look *look, struct nft_policy_set *set)
{
    const struct nft_element_dump dump = {.begin = forget_ends, .each = read_set_element, .ctx = look};
    uint64_t digest = NFT_SET_DIGEST_START;
    int result = 0;
    for (size_t v = 0; v < 2 && result == 0; v++) {
        const uint8_t version = v == 0 ? IP_V4 : IP_V6;
        char name[ADDRESS_SET_NAME_MAX + 8];
        if (version == IP_V4 ? !set->v4 : !set->v6) {
            continue;
        }
        (void)nft_address_set_name(version, set->name, name, sizeof name);
        look->key_bytes = version == IP_V4 ? 4 : 16;
        result = nft_dump_elements(look->nl, look->mark, name, &dump);
        digest = nft_set_ends_digest(&look->ends, version, digest);
    }
    set->digest = digest;
    return result;
}

static int compare_sets(const void *a, const void *b)
{
    return strcmp(((const struct nft_policy_set *)a)->name, ((const struct nft_policy_set *)b)->name);
}

static int look_at_all(struct look *look)
{
    struct nft_policies_seen *seen = look->seen;
    int result = dump(look, NFT_MSG_GETCHAIN, 0, forget_chains, read_chain);
    if (result == 0 && seen->chain_count > 0) {
        qsort(seen->chains, seen->chain_count, sizeof *seen->chains, compare_chains);
        result = look_at_rules(look);
    }
    result = result == 0 ? look_at_maps(look) : result;
    seen->tables = result == 0;
    result = result == 0 ? dump(look, NFT_MSG_GETSET, NFTA_SET_TABLE, forget_sets, read_set) : result;
    for (size_t i = 0; i < seen->set_count && result == 0; i++) {
        result = look_at_set(look, &seen->sets[i]);
    }
    if (seen->element_count > 0) {
        qsort(seen->elements, seen->element_count, sizeof *seen->elements, compare_elements);
    }
    if (seen->set_count > 0) {
        qsort(seen->sets, seen->set_count, sizeof *seen->sets, compare_sets);
    }
    return result;
}

int nft_policies_look(const char *mark, struct nft_policies_seen *ret, struct error *err)
{
    struct nft_policies_seen seen = {.tables = false};
    struct look look = {.nl = nft_socket_acquire(err), .mark = mark, .seen = &seen};
    if (look.nl == NULL) {
        return -1;
    }
    int result = look_at_all(&look);
    nft_socket_release(result == 0 || result == ENOENT);
    free(look.ends.bytes);
    if ((result != 0 && result != ENOENT) || look.failed) {
        nft_policies_seen_free(&seen);
        return look.failed ? error_oom(err) : error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot look at the policies of table %s", mark);
    }
    if (result == ENOENT) {
        nft_policies_seen_free(&seen); /* something went while it was looked at: nothing is sure */
    }
    *ret = seen;
    return 0;
}

void nft_policies_seen_free(struct nft_policies_seen *seen)
{
    free(seen->chains);
    free(seen->elements);
    free(seen->sets);
    *seen = (struct nft_policies_seen){.tables = false};
}
