/* Named sets of networks, which rules refer to. */
#include "core/policy.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

bool address_set_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len < ADDRESS_SET_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* By version and address; of two with one address, the wider network first. */
static int compare_nets(const void *left, const void *right)
{
    const struct ip_net *a = left;
    const struct ip_net *b = right;
    if (a->address.version != b->address.version) {
        return a->address.version - b->address.version;
    }
    int order = memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes);
    return order != 0 ? order : a->prefix - b->prefix;
}

/* Networks overlap only by one containing the other, and what contains stands before: so looking at the last that was kept will do. */
static size_t drop_contained(struct ip_net *nets, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !ip_net_contains(&nets[kept - 1], &nets[i].address)) {
            nets[kept++] = nets[i];
        }
    }
    return kept;
}

static int parse_nets(const json_t *list, struct ip_net *nets, struct error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL) {
            return error_set(err, ERR_INVALID_FIREWALL_CONFIG, "addresses[%zu]: must be a text", i);
        }
        if (ip_net_parse(text, ERR_INVALID_FIREWALL_CONFIG, &nets[i], err) != 0) {
            return error_prefix(err, "addresses[%zu]", i);
        }
    }
    return 0;
}

int address_set_parse(const char *name, const json_t *nets, struct address_set *ret, struct error *err)
{
    size_t count = json_array_size(nets);
    if (!address_set_name_valid(name)) {
        return error_set(err, ERR_INVALID_FIREWALL_CONFIG, "'%.64s' is not the name of an address set: a letter, then at most %d of a-z, 0-9 and '-'", name,
                         ADDRESS_SET_NAME_MAX - 2);
    }
    if (!json_is_array(nets)) {
        return error_set(err, ERR_INVALID_FIREWALL_CONFIG, "addresses: must be a list");
    }
    if (count > ADDRESS_SET_MAX) {
        return error_set(err, ERR_INVALID_FIREWALL_CONFIG, "addresses: has %zu entries, at most %d are allowed", count, ADDRESS_SET_MAX);
    }
    AUTO_FREE struct ip_net *parsed = calloc(count > 0 ? count : 1, sizeof *parsed);
    if (parsed == NULL) {
        return error_oom(err);
    }
    if (parse_nets(nets, parsed, err) != 0) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
        return -1;
    }
    qsort(parsed, count, sizeof *parsed, compare_nets);
    *ret = (struct address_set){.nets = parsed, .net_count = drop_contained(parsed, count)};
    memcpy(ret->name, name, strlen(name) + 1);
    parsed = NULL;
    return 0;
}

json_t *address_set_json(const struct address_set *set)
{
    AUTO_JSON *list = json_array();
    for (size_t i = 0; i < set->net_count; i++) {
        char text[IP_NET_TEXT_MAX];
        if (json_array_append_new(list, json_string(ip_net_format(&set->nets[i], text))) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(list);
}

void address_set_free(struct address_set *set)
{
    free(set->nets);
    *set = (struct address_set){0};
}

void address_sets_free(struct address_sets *sets)
{
    for (size_t i = 0; i < sets->count; i++) {
        address_set_free(&sets->sets[i]);
    }
    free(sets->sets);
    *sets = (struct address_sets){0};
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct address_set *)element)->name);
}

const struct address_set *address_sets_find(const struct address_sets *sets, const char *name)
{
    return sets->count == 0 ? NULL : bsearch(name, sets->sets, sets->count, sizeof *sets->sets, compare_name);
}
