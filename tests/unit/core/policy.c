/* Policies as values: reading (both sides of every rule), writing, and what they decide. JSON is written with ' for ". */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/policy.h"
#include "core/strbuf.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(rows) ((int)(sizeof(rows) / sizeof *(rows)))

static json_t *json(const char *text)
{
    json_t *value = NULL;
    struct error err = {0};
    AUTO_FREE char *copy = strdup(text);
    ck_assert_ptr_nonnull(copy);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)(*p == '\'' ? '"' : *p);
    }
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    ck_assert_msg(json_parse(copy, strlen(copy), &value, &err) == 0, "%s: %s", text, err.message);
    return value;
}

static struct policy policy(const char *text)
{
    struct policy parsed;
    struct error err = {0};
    AUTO_JSON *value = json(text);
    ck_assert_msg(policy_parse(value, &parsed, &err) == 0, "%s: %s", text, err.message);
    return parsed;
}

#define EGRESS(rule) "{'egress': {'rules': [" rule "]}}"

static const struct {
    const char *text;
    const char *shown; /* the egress rule in its canonical form */
} rules[] = {
    {"{'action': 'allow'}", "{'action':'allow','to':null,'protocol':'all','ports':null,'comment':null}"},
    {"{'action': 'deny', 'protocol': 'all'}", "{'action':'deny','to':null,'protocol':'all','ports':null,'comment':null}"},
    {"{'action': 'deny', 'to': '192.0.2.7'}", "{'action':'deny','to':['192.0.2.7/32'],'protocol':'all','ports':null,'comment':null}"},
    {"{'action': 'deny', 'to': ['10.0.0.0/8', '@a', '2001:DB8::/32', '@b-2']}",
     "{'action':'deny','to':['10.0.0.0/8','2001:db8::/32','@a','@b-2'],'protocol':'all','ports':null,'comment':null}"},
    {"{'action': 'deny', 'to': '@abcdefghijklmnopqrstuvwxyz012345'}",
     "{'action':'deny','to':['@abcdefghijklmnopqrstuvwxyz012345'],'protocol':'all','ports':null,'comment':null}"},
    {"{'action': 'allow', 'protocol': 'icmp'}", "{'action':'allow','to':null,'protocol':'icmp','ports':null,'comment':null}"},
    {"{'action': 'allow', 'protocol': 'udp', 'ports': 53}", "{'action':'allow','to':null,'protocol':'udp','ports':[53],'comment':null}"},
    {"{'action': 'allow', 'protocol': 'tcp', 'ports': [1, 65535, '2-2', '8000-8999', 80.0]}",
     "{'action':'allow','to':null,'protocol':'tcp','ports':[1,65535,2,'8000-8999',80],'comment':null}"},
    {"{'action': 'allow', 'protocol': 'tcp', 'ports': '1-65535'}", "{'action':'allow','to':null,'protocol':'tcp','ports':['1-65535'],'comment':null}"},
    {"{'action': 'deny', 'comment': ''}", "{'action':'deny','to':null,'protocol':'all','ports':null,'comment':''}"},
    {"{'action': 'deny', 'comment': 'Zürich → all'}", "{'action':'deny','to':null,'protocol':'all','ports':null,'comment':'Zürich → all'}"},
    {"{'action': 'allow', 'to': null, 'protocol': null, 'ports': null, 'comment': null}",
     "{'action':'allow','to':null,'protocol':'all','ports':null,'comment':null}"},
};

static char *canonical(const struct policy *value)
{
    AUTO_JSON *shown = policy_json(value);
    char *text = json_text(shown);
    ck_assert_ptr_nonnull(text);
    for (char *p = text; *p != '\0'; p++) {
        *p = (char)(*p == '"' ? '\'' : *p);
    }
    return text;
}

/* Their canonical documents are the same. */
static bool equal(const struct policy *a, const struct policy *b)
{
    AUTO_FREE char *left = canonical(a);
    AUTO_FREE char *right = canonical(b);
    return strcmp(left, right) == 0;
}

START_TEST(rules_are_read_and_written)
{
    AUTO_STRBUF text = STRBUF_INIT;
    AUTO_STRBUF expected = STRBUF_INIT;
    strbuf_addf(&text, "{'egress': {'rules': [%s]}}", rules[_i].text);
    strbuf_addf(&expected, "{'egress':{'default_action':'allow','rules':[%s]},'ingress':{'default_action':'deny','rules':[]}}", rules[_i].shown);
    struct policy first = policy(text.data);
    AUTO_FREE char *shown = canonical(&first);
    ck_assert_str_eq(shown, expected.data);
    struct policy second = policy(shown);
    AUTO_FREE char *again = canonical(&second);
    ck_assert_str_eq(again, shown);
    policy_free(&first);
    policy_free(&second);
}
END_TEST

static const struct {
    const char *text;
    const char *pointer;
    const char *message; /* exactly what err says */
} faults[] = {
    {"[]", "", "must be an object"},
    {"null", "", "must be an object"},
    {"{'forward': {}}", "", "has no member 'forward'"},
    {"{'egress': null}", "/egress", "egress: must be an object"},
    {"{'egress': []}", "/egress", "egress: must be an object"},
    {"{'egress': {'default': 'allow'}}", "/egress", "egress: has no member 'default'"},
    {"{'ingress': {'default_action': 'drop'}}", "/ingress/default_action", "ingress.default_action: must be \"allow\" or \"deny\""},
    {"{'egress': {'default_action': true}}", "/egress/default_action", "egress.default_action: must be \"allow\" or \"deny\""},
    {"{'egress': {'default_action': null}}", "/egress/default_action", "egress.default_action: must be \"allow\" or \"deny\""},
    {"{'egress': {'rules': {}}}", "/egress/rules", "egress.rules: must be a list"},
    {EGRESS("7"), "/egress/rules/0", "egress.rules[0]: must be an object"},
    {EGRESS("{}"), "/egress/rules/0", "egress.rules[0]: has no action: \"allow\" or \"deny\""},
    {EGRESS("{'action': 'reject'}"), "/egress/rules/0/action", "egress.rules[0].action: must be \"allow\" or \"deny\""},
    {EGRESS("{'action': 'allow'}, {'action': 'allow', 'port': 80}"), "/egress/rules/1", "egress.rules[1]: has no member 'port'"},
    {EGRESS("{'action': 'allow', 'from': '10.0.0.0/8'}"), "/egress/rules/0", "egress.rules[0]: has no member 'from'"},
    {"{'ingress': {'rules': [{'action': 'allow', 'to': '10.0.0.0/8'}]}}", "/ingress/rules/0", "ingress.rules[0]: has no member 'to'"},
    {EGRESS("{'action': 'allow', 'protocol': 'sctp'}"), "/egress/rules/0/protocol", "egress.rules[0].protocol: must be \"all\", \"tcp\", \"udp\" or \"icmp\""},
    {EGRESS("{'action': 'allow', 'protocol': 6}"), "/egress/rules/0/protocol", "egress.rules[0].protocol: must be \"all\", \"tcp\", \"udp\" or \"icmp\""},
    {EGRESS("{'action': 'allow', 'protocol': 'TCP'}"), "/egress/rules/0/protocol", "egress.rules[0].protocol: must be \"all\", \"tcp\", \"udp\" or \"icmp\""},
    {EGRESS("{'action': 'allow', 'to': []}"), "/egress/rules/0/to", "egress.rules[0].to: must not be an empty list"},
    {EGRESS("{'action': 'allow', 'to': ''}"), "/egress/rules/0/to", "egress.rules[0].to: '' is not an address or a network like 10.0.0.0/8 or 2001:db8::/32"},
    {EGRESS("{'action': 'allow', 'to': 10}"), "/egress/rules/0/to", "egress.rules[0].to: must be an address, a network, or '@' and the name of an address set"},
    {EGRESS("{'action': 'allow', 'to': ['10.0.0.0/8', ['10.0.0.0/8']]}"), "/egress/rules/0/to/1",
     "egress.rules[0].to[1]: must be an address, a network, or '@' and the name of an address set"},
    {EGRESS("{'action': 'allow', 'to': 'example.org'}"), "/egress/rules/0/to",
     "egress.rules[0].to: 'example.org' is not an address or a network like 10.0.0.0/8 or 2001:db8::/32"},
    {EGRESS("{'action': 'allow', 'to': ['192.0.2.1', '10.1.2.3/8']}"), "/egress/rules/0/to/1",
     "egress.rules[0].to[1]: '10.1.2.3/8' has host bits set; the network is 10.0.0.0/8"},
    {"{'ingress': {'rules': [{'action': 'allow', 'from': '2001:db8::1/64'}]}}", "/ingress/rules/0/from",
     "ingress.rules[0].from: '2001:db8::1/64' has host bits set; the network is 2001:db8::/64"},
    {EGRESS("{'action': 'allow', 'to': '@'}"), "/egress/rules/0/to",
     "egress.rules[0].to: '@' does not name an address set: '@', a letter, then at most 31 of a-z, 0-9 and '-'"},
    {EGRESS("{'action': 'allow', 'to': '@Set'}"), "/egress/rules/0/to",
     "egress.rules[0].to: '@Set' does not name an address set: '@', a letter, then at most 31 of a-z, 0-9 and '-'"},
    {EGRESS("{'action': 'allow', 'to': '@abcdefghijklmnopqrstuvwxyz0123456'}"), "/egress/rules/0/to",
     "egress.rules[0].to: '@abcdefghijklmnopqrstuvwxyz0123456' does not name an address set: '@', a letter, then at most "
     "31 of a-z, 0-9 and '-'"},
    {EGRESS("{'action': 'allow', 'ports': 80}"), "/egress/rules/0/ports", "egress.rules[0].ports: needs the protocol \"tcp\" or \"udp\", not \"all\""},
    {EGRESS("{'action': 'allow', 'protocol': 'icmp', 'ports': [80]}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: needs the protocol \"tcp\" or \"udp\", not \"icmp\""},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': []}"), "/egress/rules/0/ports", "egress.rules[0].ports: must not be an empty list"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': 0}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': -1}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'udp', 'ports': [22, 65536]}"), "/egress/rules/0/ports/1", "egress.rules[0].ports[1]: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': 80.5}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: must be a number, or a range like \"8000-8999\""},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': true}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: must be a number, or a range like \"8000-8999\""},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '80'}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: must be a number, or a range like \"8000-8999\""},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '80-'}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '80-90 '}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: must be a number, or a range like \"8000-8999\""},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '080-90'}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '0-80'}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '80-65536'}"), "/egress/rules/0/ports", "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow', 'protocol': 'tcp', 'ports': '1-99999999999999999999'}"), "/egress/rules/0/ports",
     "egress.rules[0].ports: ports are from 1 to 65535"},
    {EGRESS("{'action': 'allow'}, {'action': 'allow'}, {'action': 'allow', 'protocol': 'tcp', 'ports': ['90-80']}"), "/egress/rules/2/ports/0",
     "egress.rules[2].ports[0]: the range is reversed: 90 is greater than 80"},
    {EGRESS("{'action': 'allow', 'comment': 7}"), "/egress/rules/0/comment", "egress.rules[0].comment: must be a text without control characters"},
    {EGRESS("{'action': 'allow', 'comment': 'a\\nb'}"), "/egress/rules/0/comment", "egress.rules[0].comment: must be a text without control characters"},
};

struct told {
    char pointers[16][64];
    size_t count, max;
};

static bool tell(void *ctx, const char *pointer, const char *message)
{
    struct told *told = ctx;
    ck_assert_uint_lt(told->count, told->max);
    ck_assert_uint_gt(strlen(message), 0);
    (void)snprintf(told->pointers[told->count++], sizeof told->pointers[0], "%s", pointer);
    return told->count < told->max;
}

START_TEST(other_policies_are_refused)
{
    struct policy untouched = {.directions[POLICY_EGRESS].rule_count = 77};
    struct told told = {.max = 16};
    struct error err = {0};
    AUTO_JSON *value = json(faults[_i].text);
    ck_assert_int_eq(policy_parse_all(value, &untouched, tell, &told, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_FIREWALL_CONFIG);
    ck_assert_str_eq(err.message, faults[_i].message);
    ck_assert_uint_eq(told.count, 1);
    ck_assert_str_eq(told.pointers[0], faults[_i].pointer);
    ck_assert_int_eq(policy_parse(value, &untouched, NULL), -1);
    ck_assert_uint_eq(untouched.directions[POLICY_EGRESS].rule_count, 77);
}
END_TEST

static const char many_faults[] = "{'egress': {'default_action': 1, 'rules': [{}, {'action': 'deny', 'x': 1, 'to': ['a', '10.0.0.0/8', 'b']}]},"
                                  " 'ingress': {'rules': [{'action': 'deny', 'protocol': 'tcp', 'ports': [0, 80, '2-1']}]}, 'other': 1}";

START_TEST(all_faults_are_told)
{
    static const char *const expected[] = {"",
                                           "/egress/default_action",
                                           "/egress/rules/0",
                                           "/egress/rules/1",
                                           "/egress/rules/1/to/0",
                                           "/egress/rules/1/to/2",
                                           "/ingress/rules/0/ports/0",
                                           "/ingress/rules/0/ports/2"};
    struct policy untouched;
    struct told told = {.max = 16};
    struct error err = {0};
    AUTO_JSON *value = json(many_faults);
    ck_assert_int_eq(policy_parse_all(value, &untouched, tell, &told, &err), -1);
    ck_assert_int_eq((int)told.count, COUNT(expected));
    for (size_t i = 0; i < told.count; i++) {
        ck_assert_str_eq(told.pointers[i], expected[i]);
    }
    ck_assert_str_eq(err.message, "has no member 'other'");
}
END_TEST

START_TEST(the_reading_stops_when_nobody_listens)
{
    struct policy untouched;
    struct told told = {.max = 3};
    AUTO_JSON *value = json(many_faults);
    ck_assert_int_eq(policy_parse_all(value, &untouched, tell, &told, NULL), -1);
    ck_assert_uint_eq(told.count, 3);
}
END_TEST

/* `before`, then `count` times `entry`, then `after`. */
static int parse_many(const char *before, const char *entry, int count, const char *after, struct error *err)
{
    struct policy parsed;
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, before);
    for (int i = 0; i < count; i++) {
        strbuf_add(&text, i > 0 ? "," : "");
        strbuf_add(&text, entry);
    }
    strbuf_add(&text, after);
    AUTO_JSON *value = json(text.data);
    if (policy_parse(value, &parsed, err) != 0) {
        return -1;
    }
    policy_free(&parsed);
    return 0;
}

static const struct {
    const char *before, *entry, *after;
    int max;
    const char *message;
} limits[] = {
    {"{'egress': {'rules': [", "{'action': 'allow'}", "]}}", POLICY_RULES_MAX, "egress.rules: has 257 entries, at most 256 are allowed"},
    {"{'ingress': {'rules': [{'action': 'deny', 'from': [", "'10.0.0.0/8'", "]}]}}", POLICY_ADDRESSES_MAX,
     "ingress.rules[0].from: has 257 entries, at most 256 are allowed"},
    {"{'egress': {'rules': [{'action': 'deny', 'to': [", "'@a'", "]}]}}", POLICY_ADDRESSES_MAX, "egress.rules[0].to: has 257 entries, at most 256 are allowed"},
    {"{'egress': {'rules': [{'action': 'deny', 'protocol': 'tcp', 'ports': [", "80", "]}]}}", POLICY_PORTS_MAX,
     "egress.rules[0].ports: has 65 entries, at most 64 are allowed"},
};

START_TEST(lists_have_limits)
{
    struct error err = {0};
    ck_assert_int_eq(parse_many(limits[_i].before, limits[_i].entry, limits[_i].max, limits[_i].after, &err), 0);
    ck_assert_int_eq(parse_many(limits[_i].before, limits[_i].entry, limits[_i].max + 1, limits[_i].after, &err), -1);
    ck_assert_str_eq(err.message, limits[_i].message);
}
END_TEST

START_TEST(comments_have_a_limit)
{
    for (int len = POLICY_COMMENT_MAX - 1; len <= POLICY_COMMENT_MAX; len++) {
        struct policy parsed = {0};
        struct error err = {0};
        char comment[POLICY_COMMENT_MAX + 1] = "";
        memset(comment, 'c', (size_t)len);
        AUTO_JSON *value = json_pack("{s:{s:[{s:s, s:s}]}}", "egress", "rules", "action", "deny", "comment", comment);
        ck_assert_int_eq(policy_parse(value, &parsed, &err), len < POLICY_COMMENT_MAX ? 0 : -1);
        policy_free(&parsed);
    }
}
END_TEST

START_TEST(defaults_are_defaults)
{
    struct policy defaults;
    policy_defaults(&defaults);
    ck_assert(defaults.directions[POLICY_EGRESS].allow_by_default);
    ck_assert(!defaults.directions[POLICY_INGRESS].allow_by_default);
    struct policy empty = policy("{}");
    ck_assert(equal(&empty, &defaults));
    struct policy half = policy("{'egress': {'default_action': 'deny'}}");
    ck_assert(!equal(&half, &defaults));
    ck_assert(!half.directions[POLICY_EGRESS].allow_by_default && !half.directions[POLICY_INGRESS].allow_by_default);
    policy_free(&defaults);
    policy_free(&empty);
    policy_free(&half);
}
END_TEST

/* All different, but for the last two. */
static const char *const different[] = {
    "{}",
    "{'ingress': {'default_action': 'allow'}}",
    EGRESS("{'action': 'deny'}"),
    EGRESS("{'action': 'allow'}"),
    EGRESS("{'action': 'deny'}, {'action': 'deny'}"),
    EGRESS("{'action': 'deny', 'to': '10.0.0.0/8'}"),
    EGRESS("{'action': 'deny', 'to': '10.0.0.0/9'}"),
    EGRESS("{'action': 'deny', 'to': '11.0.0.0/8'}"),
    EGRESS("{'action': 'deny', 'to': '@a'}"),
    EGRESS("{'action': 'deny', 'to': '@b'}"),
    EGRESS("{'action': 'deny', 'to': ['@b', '@a']}"),
    EGRESS("{'action': 'deny', 'protocol': 'tcp'}"),
    EGRESS("{'action': 'deny', 'protocol': 'tcp', 'ports': 80}"),
    EGRESS("{'action': 'deny', 'protocol': 'tcp', 'ports': 81}"),
    EGRESS("{'action': 'deny', 'protocol': 'tcp', 'ports': '80-81'}"),
    EGRESS("{'action': 'deny', 'comment': 'a'}"),
    EGRESS("{'action': 'deny', 'comment': 'b'}"),
    EGRESS("{'comment': 'b', 'protocol': 'all', 'action': 'deny'}"),
};

START_TEST(equal_policies_are_equal)
{
    struct policy left = policy(different[_i]);
    for (int i = 0; i < COUNT(different); i++) {
        struct policy right = policy(different[i]);
        bool same = i == _i || (i >= COUNT(different) - 2 && _i >= COUNT(different) - 2);
        ck_assert_msg(equal(&left, &right) == same, "%s, %s", different[_i], different[i]);
        policy_free(&right);
    }
    policy_free(&left);
}
END_TEST

static struct address_set set(const char *name, const char *text)
{
    struct address_set parsed = {0};
    struct error err = {0};
    AUTO_JSON *value = json(text);
    ck_assert_msg(address_set_parse(name, value, &parsed, &err) == 0, "%s", err.message);
    return parsed;
}

START_TEST(address_sets_are_sorted_and_without_overlaps)
{
    struct address_set parsed = set("a1-b", "['2001:db8:1::/48', '192.0.2.9', '10.1.0.0/16', '192.0.2.9/32', '2001:db8::/32', "
                                            "'10.0.0.0/8', '9.0.0.0/8', '10.255.255.255', '192.0.2.8']");
    AUTO_JSON *shown = address_set_json(&parsed);
    AUTO_FREE char *text = json_text(shown);
    ck_assert_str_eq(parsed.name, "a1-b");
    ck_assert_str_eq(text, "[\"9.0.0.0/8\",\"10.0.0.0/8\",\"192.0.2.8/32\",\"192.0.2.9/32\",\"2001:db8::/32\"]");
    address_set_free(&parsed);
    parsed = set("empty", "[]");
    ck_assert_uint_eq(parsed.net_count, 0);
    address_set_free(&parsed);
}
END_TEST

static const struct {
    const char *name, *nets, *words;
} bad_sets[] = {
    {"", "[]", "is not the name of an address set"},
    {"1a", "[]", "is not the name of an address set"},
    {"-a", "[]", "is not the name of an address set"},
    {"A", "[]", "is not the name of an address set"},
    {"a_b", "[]", "is not the name of an address set"},
    {"a/b", "[]", "is not the name of an address set"},
    {"abcdefghijklmnopqrstuvwxyz0123456", "[]", "is not the name of an address set"},
    {"a", "{}", "addresses: must be a list"},
    {"a", "'10.0.0.0/8'", "addresses: must be a list"},
    {"a", "['10.0.0.0/8', 7]", "addresses[1]: must be a text"},
    {"a", "['10.0.0.0/8', '@b']", "addresses[1]: '@b' is not an address or a network"},
    {"a", "['10.0.0.1/8']", "addresses[0]: '10.0.0.1/8' has host bits set; the network is 10.0.0.0/8"},
};

START_TEST(other_address_sets_are_refused)
{
    struct address_set untouched = {.net_count = 77};
    struct error err = {0};
    AUTO_JSON *value = json(bad_sets[_i].nets);
    ck_assert_int_eq(address_set_parse(bad_sets[_i].name, value, &untouched, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_FIREWALL_CONFIG);
    ck_assert_msg(strstr(err.message, bad_sets[_i].words) != NULL, "%s", err.message);
    ck_assert_uint_eq(untouched.net_count, 77);
}
END_TEST

START_TEST(address_sets_have_a_limit)
{
    struct address_set parsed = {0};
    struct error err = {0};
    AUTO_JSON *list = json_array();
    for (unsigned i = 0; i < ADDRESS_SET_MAX; i++) {
        ck_assert_int_eq(json_array_append_new(list, json_sprintf("10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255)), 0);
    }
    ck_assert_int_eq(address_set_parse("a", list, &parsed, &err), 0);
    ck_assert_uint_eq(parsed.net_count, ADDRESS_SET_MAX);
    address_set_free(&parsed);
    ck_assert_int_eq(json_array_append_new(list, json_string("10.0.0.1")), 0);
    ck_assert_int_eq(address_set_parse("a", list, &parsed, &err), -1);
    ck_assert_str_eq(err.message, "addresses: has 10001 entries, at most 10000 are allowed");
}
END_TEST

static struct address_sets two_sets(void)
{
    struct address_sets sets = {.sets = calloc(2, sizeof *sets.sets), .count = 2};
    ck_assert_ptr_nonnull(sets.sets);
    sets.sets[0] = set("caches", "['192.0.2.0/28', '198.51.100.7', '203.0.113.0/24', '2001:db8:c::/48']");
    sets.sets[1] = set("empty", "[]");
    return sets;
}

START_TEST(sets_are_found_by_name)
{
    static const struct address_sets none = {0};
    struct address_sets sets = two_sets();
    struct policy uses = policy(EGRESS("{'action': 'deny'}, {'action': 'deny', 'to': ['@caches', '@gone']}"));
    ck_assert_ptr_eq(address_sets_find(&sets, "caches"), &sets.sets[0]);
    ck_assert_ptr_eq(address_sets_find(&sets, "empty"), &sets.sets[1]);
    ck_assert_ptr_null(address_sets_find(&sets, "cache"));
    ck_assert_ptr_null(address_sets_find(&none, "caches"));
    ck_assert_str_eq(policy_unknown_set(&uses, &sets), "gone");
    ck_assert_str_eq(policy_unknown_set(&uses, &none), "caches");
    policy_free(&uses);
    uses = policy("{'ingress': {'rules': [{'action': 'deny', 'from': '@caches'}]}}");
    ck_assert_ptr_null(policy_unknown_set(&uses, &sets));
    policy_free(&uses);
    address_sets_free(&sets);
}
END_TEST

static const char decided[] = "{'egress': {'default_action': 'allow', 'rules': ["
                              "  {'action': 'allow', 'to': '10.0.0.53', 'protocol': 'udp', 'ports': 53},"
                              "  {'action': 'deny', 'to': ['10.0.0.0/8', '2001:db8:bad::/48']},"
                              "  {'action': 'deny', 'to': '@caches', 'protocol': 'tcp', 'ports': [22, '8000-8999']},"
                              "  {'action': 'deny', 'to': ['@empty', '@gone']},"
                              "  {'action': 'deny', 'protocol': 'tcp', 'ports': 25},"
                              "  {'action': 'deny', 'protocol': 'icmp'}]}}";

static const struct {
    const char *remote;
    uint8_t protocol;
    uint16_t port;
    bool allow;
    int rule;
} packets[] = {
    {"10.0.0.53", IPPROTO_UDP, 53, true, 0},
    {"10.0.0.53", IPPROTO_TCP, 53, false, 1},
    {"10.0.0.53", IPPROTO_UDP, 54, false, 1},
    {"10.255.255.255", IPPROTO_ESP, 0, false, 1},
    {"11.0.0.0", IPPROTO_TCP, 80, true, POLICY_BY_DEFAULT},
    {"2001:db8:bad::1", IPPROTO_UDP, 9, false, 1},
    {"192.0.2.0", IPPROTO_TCP, 22, false, 2},
    {"192.0.2.15", IPPROTO_TCP, 8000, false, 2},
    {"192.0.2.16", IPPROTO_TCP, 8000, true, POLICY_BY_DEFAULT},
    {"198.51.100.7", IPPROTO_TCP, 8999, false, 2},
    {"198.51.100.6", IPPROTO_TCP, 8999, true, POLICY_BY_DEFAULT},
    {"198.51.100.8", IPPROTO_TCP, 8999, true, POLICY_BY_DEFAULT},
    {"203.0.113.255", IPPROTO_TCP, 8500, false, 2},
    {"203.0.113.255", IPPROTO_TCP, 7999, true, POLICY_BY_DEFAULT},
    {"203.0.113.255", IPPROTO_TCP, 9000, true, POLICY_BY_DEFAULT},
    {"203.0.113.255", IPPROTO_UDP, 8500, true, POLICY_BY_DEFAULT},
    {"2001:db8:c:ffff::1", IPPROTO_TCP, 22, false, 2},
    {"2001:db8:d::", IPPROTO_TCP, 22, true, POLICY_BY_DEFAULT},
    {"0.0.0.1", IPPROTO_TCP, 22, true, POLICY_BY_DEFAULT},
    {"192.0.2.200", IPPROTO_TCP, 25, false, 4},
    {"2001:db8::1", IPPROTO_TCP, 25, false, 4},
    {"192.0.2.200", IPPROTO_UDP, 25, true, POLICY_BY_DEFAULT},
    {"192.0.2.200", IPPROTO_ICMP, 0, false, 5},
    {"2001:db8::1", IPPROTO_ICMPV6, 0, false, 5},
};

START_TEST(the_first_matching_rule_decides)
{
    int rule = 99;
    struct address_sets sets = two_sets();
    struct policy value = policy(decided);
    struct policy_packet packet = {.protocol = packets[_i].protocol, .port = packets[_i].port};
    ck_assert(ip_addr_parse(packets[_i].remote, &packet.remote));
    bool allow = policy_decide(&value.directions[POLICY_EGRESS], &sets, &packet, &rule);
    ck_assert_int_eq(rule, packets[_i].rule);
    ck_assert_int_eq(allow, packets[_i].allow);
    ck_assert(!policy_decide(&value.directions[POLICY_INGRESS], &sets, &packet, &rule));
    ck_assert_int_eq(rule, POLICY_BY_DEFAULT);
    policy_free(&value);
    address_sets_free(&sets);
}
END_TEST

START_TEST(names_are_those_of_the_json)
{
    ck_assert_str_eq(policy_direction_text(POLICY_EGRESS), "egress");
    ck_assert_str_eq(policy_direction_text(POLICY_INGRESS), "ingress");
    ck_assert_str_eq(policy_protocol_text(POLICY_PROTOCOL_ALL), "all");
    ck_assert_str_eq(policy_protocol_text(POLICY_PROTOCOL_ICMP), "icmp");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tests = tcase_create("policy");
    tcase_add_loop_test(tests, rules_are_read_and_written, 0, COUNT(rules));
    tcase_add_loop_test(tests, other_policies_are_refused, 0, COUNT(faults));
    tcase_add_test(tests, all_faults_are_told);
    tcase_add_test(tests, the_reading_stops_when_nobody_listens);
    tcase_add_loop_test(tests, lists_have_limits, 0, COUNT(limits));
    tcase_add_test(tests, comments_have_a_limit);
    tcase_add_test(tests, defaults_are_defaults);
    tcase_add_loop_test(tests, equal_policies_are_equal, 0, COUNT(different));
    tcase_add_test(tests, address_sets_are_sorted_and_without_overlaps);
    tcase_add_loop_test(tests, other_address_sets_are_refused, 0, COUNT(bad_sets));
    tcase_add_test(tests, address_sets_have_a_limit);
    tcase_add_test(tests, sets_are_found_by_name);
    tcase_add_loop_test(tests, the_first_matching_rule_decides, 0, COUNT(packets));
    tcase_add_test(tests, names_are_those_of_the_json);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
