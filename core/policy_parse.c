/*
 * Policies from JSON. Each fault is told with where it stands, twice: as a JSON pointer for programs, and in words
 * ("egress.rules[2].ports[0]: …") for people.
 */
#include "core/policy.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PLACE_MAX = 96, PORT_MAX = 65535 };

/* Where the reading is: the members and indices from the top. `index` -1: only the member. */
struct place {
    const struct place *parent;
    const char *member; /* NULL: only the index */
    int index;
};

struct reader {
    policy_fault_fn *fault; /* may be NULL */
    void *ctx;
    struct error *err;
    bool faulty; /* err is filled */
    bool stop;   /* nobody wants to hear more, or there is no memory */
};

/* Both forms into buf[PLACE_MAX]; members that come from the client are not part of places but of messages. */
static size_t place_text(const struct place *place, bool pointer, char *buf)
{
    size_t len = place->parent != NULL ? place_text(place->parent, pointer, buf) : 0;
    buf[len] = '\0';
    if (place->member != NULL) {
        const char *separator = pointer ? "/" : len > 0 ? "." : "";
        len += (size_t)snprintf(buf + len, PLACE_MAX - len, "%s%s", separator, place->member);
    }
    if (place->index >= 0) {
        len += (size_t)snprintf(buf + len, PLACE_MAX - len, pointer ? "/%d" : "[%d]", place->index);
    }
    return len;
}

static void fault_at(struct reader *reader, const struct place *place, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fault_at(struct reader *reader, const struct place *place, const char *fmt, ...)
{
    char message[ERROR_MESSAGE_MAX / 2];
    char where[PLACE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (!reader->faulty) {
        bool named = place_text(place, false, where) > 0;
        (void)error_set(reader->err, ERR_INVALID_FIREWALL_CONFIG, "%s%s%s", where, named ? ": " : "", message);
        reader->faulty = true;
    }
    (void)place_text(place, true, where);
    reader->stop = reader->stop || reader->fault == NULL || !reader->fault(reader->ctx, where, message);
}

static void *allocate(struct reader *reader, size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        (void)error_oom(reader->err);
        reader->faulty = reader->stop = true;
    }
    return memory;
}

/* Is `object` one, and are all its members among `known` (ended by NULL)? The first unknown one is named. */
static bool check_members(struct reader *reader, const struct place *place, const json_t *object, const char *const *known)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(object)) {
        fault_at(reader, place, "must be an object");
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            fault_at(reader, place, "has no member '%.64s'", key);
        }
    }
    return true;
}

/* "allow" or "deny". */
static void read_action(struct reader *reader, const struct place *place, const json_t *json, bool *ret)
{
    const char *text = json_string_value(json);
    if (text != NULL && (strcmp(text, "allow") == 0 || strcmp(text, "deny") == 0)) {
        *ret = text[0] == 'a';
    } else {
        fault_at(reader, place, "must be \"allow\" or \"deny\"");
    }
}

static void read_protocol(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    static const enum policy_protocol protocols[] = {POLICY_PROTOCOL_ALL, POLICY_PROTOCOL_TCP, POLICY_PROTOCOL_UDP, POLICY_PROTOCOL_ICMP};
    const char *text = json_string_value(json);
    for (size_t i = 0; text != NULL && i < ARRAY_LEN(protocols); i++) {
        if (strcmp(text, policy_protocol_text(protocols[i])) == 0) {
            rule->protocol = protocols[i];
            return;
        }
    }
    fault_at(reader, place, "must be \"all\", \"tcp\", \"udp\" or \"icmp\"");
}

/* The number of entries of one or a list of them, and each of them. */
static size_t list_size(const json_t *json)
{
    return json_is_array(json) ? json_array_size(json) : 1;
}

static const json_t *list_get(const json_t *json, size_t index)
{
    return json_is_array(json) ? json_array_get(json, index) : json;
}

static bool check_list(struct reader *reader, const struct place *place, const json_t *json, size_t max)
{
    if (list_size(json) == 0) {
        fault_at(reader, place, "must not be an empty list");
    } else if (list_size(json) > max) {
        fault_at(reader, place, "has %zu entries, at most %zu are allowed", list_size(json), max);
    } else {
        return true;
    }
    return false;
}

static void read_address(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    struct error why;
    const char *text = json_string_value(json);
    if (text == NULL) {
        fault_at(reader, place, "must be an address, a network, or '@' and the name of an address set");
    } else if (text[0] == '@' && address_set_name_valid(text + 1)) {
        memcpy(rule->sets[rule->set_count++], text + 1, strlen(text));
    } else if (text[0] == '@') {
        fault_at(reader, place, "'%.64s' does not name an address set: '@', a letter, then at most %d of a-z, 0-9 and '-'", text, ADDRESS_SET_NAME_MAX - 2);
    } else if (ip_net_parse(text, ERR_INVALID_FIREWALL_CONFIG, &rule->nets[rule->net_count], &why) == 0) {
        rule->net_count++;
    } else {
        fault_at(reader, place, "%s", why.message);
    }
}

static void read_addresses(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    if (!check_list(reader, place, json, POLICY_ADDRESSES_MAX)) {
        return;
    }
    rule->nets = allocate(reader, list_size(json), sizeof *rule->nets);
    rule->sets = allocate(reader, list_size(json), sizeof *rule->sets);
    for (size_t i = 0; i < list_size(json) && !reader->stop; i++) {
        struct place entry = {.parent = place, .index = json_is_array(json) ? (int)i : -1};
        read_address(reader, &entry, list_get(json, i), rule);
    }
}

/* Decimal digits without a leading zero; moves *text behind them. 0 when there are none, or too many. */
static int64_t read_digits(const char **text)
{
    size_t len = strspn(*text, "0123456789");
    int64_t value = len <= 9 && **text != '0' ? strtol(*text, NULL, 10) : 0;
    *text += len;
    return value;
}

static bool parse_port(const json_t *json, int64_t *ret_first, int64_t *ret_last)
{
    const char *text = json_string_value(json);
    if (text == NULL) {
        bool number = json_integral(json, ret_first);
        *ret_last = *ret_first;
        return number;
    }
    *ret_first = read_digits(&text);
    if (*text++ != '-') {
        return false;
    }
    *ret_last = read_digits(&text);
    return *text == '\0';
}

static void read_port(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    int64_t first = 0;
    int64_t last = 0;
    if (!parse_port(json, &first, &last)) {
        fault_at(reader, place, "must be a number, or a range like \"8000-8999\"");
    } else if (first < 1 || first > PORT_MAX || last < 1 || last > PORT_MAX) {
        fault_at(reader, place, "ports are from 1 to %d", PORT_MAX);
    } else if (first > last) {
        fault_at(reader, place, "the range is reversed: %lld is greater than %lld", (long long)first, (long long)last);
    } else {
        rule->ports[rule->port_count++] = (struct port_range){(uint16_t)first, (uint16_t)last};
    }
}

static void read_ports(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    if (!check_list(reader, place, json, POLICY_PORTS_MAX)) {
        return;
    }
    if (rule->protocol != POLICY_PROTOCOL_TCP && rule->protocol != POLICY_PROTOCOL_UDP) {
        fault_at(reader, place, "needs the protocol \"tcp\" or \"udp\", not \"%s\"", policy_protocol_text(rule->protocol));
    }
    rule->ports = allocate(reader, list_size(json), sizeof *rule->ports);
    for (size_t i = 0; i < list_size(json) && !reader->stop; i++) {
        struct place entry = {.parent = place, .index = json_is_array(json) ? (int)i : -1};
        read_port(reader, &entry, list_get(json, i), rule);
    }
}

/* One line of text: it is shown in listings of the kernel's rules. */
static void read_comment(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    const char *text = json_string_value(json);
    bool plain = text != NULL;
    for (const char *p = text; plain && *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        plain = c >= ' ' && c != 0x7f;
    }
    if (!plain) {
        fault_at(reader, place, "must be a text without control characters");
    } else if (strlen(text) >= POLICY_COMMENT_MAX) {
        fault_at(reader, place, "has %zu bytes, at most %d are allowed", strlen(text), POLICY_COMMENT_MAX - 1);
    } else {
        rule->comment = allocate(reader, strlen(text) + 1, 1);
        if (rule->comment != NULL) {
            memcpy(rule->comment, text, strlen(text) + 1);
        }
    }
}

/* Of the host, before translation. */
static void read_host_port(struct reader *reader, const struct place *place, const json_t *json, struct policy_rule *rule)
{
    int64_t port = 0;
    if (!json_integral(json, &port) || port < 1 || port > PORT_MAX) {
        fault_at(reader, place, "must be a port of the host, from 1 to %d", PORT_MAX);
    } else if (rule->protocol == POLICY_PROTOCOL_ICMP) {
        fault_at(reader, place, "icmp has no ports");
    } else {
        rule->host_port = (uint16_t)port;
    }
}

static void read_rule(struct reader *reader, const struct place *place, const json_t *json, bool egress, struct policy_rule *rule)
{
    const char *other_end = egress ? "to" : "from";
    const char *const known[] = {"action", other_end, "protocol", "ports", "comment", egress ? NULL : "host_port", NULL};
    static void (*const readers[])(struct reader *, const struct place *, const json_t *, struct policy_rule *) = {NULL,       read_addresses, read_protocol,
                                                                                                                   read_ports, read_comment,   read_host_port};
    if (!check_members(reader, place, json, known)) {
        return;
    }
    if (json_object_get(json, "action") == NULL) {
        fault_at(reader, place, "has no action: \"allow\" or \"deny\"");
    } else {
        struct place action = {.parent = place, .member = "action", .index = -1};
        read_action(reader, &action, json_object_get(json, "action"), &rule->allow);
    }
    for (size_t i = 1; i < ARRAY_LEN(readers) && known[i] != NULL && !reader->stop; i++) { /* the protocol before the ports */
        struct place member = {.parent = place, .member = known[i], .index = -1};
        const json_t *value = json_object_get(json, known[i]);
        if (value != NULL && !json_is_null(value)) { /* null is as good as absent */
            readers[i](reader, &member, value, rule);
        }
    }
}

static void read_rules(struct reader *reader, const struct place *place, const json_t *json, bool egress, struct policy_direction *direction)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json)) {
        fault_at(reader, place, "must be a list");
        return;
    }
    if (count > POLICY_RULES_MAX) {
        fault_at(reader, place, "has %zu entries, at most %d are allowed", count, POLICY_RULES_MAX);
        return;
    }
    direction->rules = count > 0 ? allocate(reader, count, sizeof *direction->rules) : NULL;
    for (size_t i = 0; i < count && !reader->stop; i++) {
        struct place rule = {.parent = place->parent, .member = place->member, .index = (int)i};
        direction->rule_count = i + 1;
        read_rule(reader, &rule, json_array_get(json, i), egress, &direction->rules[i]);
    }
}

static void read_direction(struct reader *reader, const struct place *place, const json_t *json, bool egress, struct policy_direction *direction)
{
    static const char *const known[] = {"default_action", "rules", NULL};
    struct place action = {.parent = place, .member = known[0], .index = -1};
    struct place rules = {.parent = place, .member = known[1], .index = -1};
    if (!check_members(reader, place, json, known)) {
        return;
    }
    if (json_object_get(json, known[0]) != NULL) {
        read_action(reader, &action, json_object_get(json, known[0]), &direction->allow_by_default);
    }
    if (json_object_get(json, known[1]) != NULL) {
        read_rules(reader, &rules, json_object_get(json, known[1]), egress, direction);
    }
}

int policy_parse_all(const json_t *json, struct policy *ret, policy_fault_fn *fault, void *ctx, struct error *err)
{
    static const char *const known[] = {"egress", "ingress", NULL};
    static const struct place top = {.index = -1};
    struct reader reader = {.fault = fault, .ctx = ctx, .err = err};
    struct policy policy;
    policy_defaults(&policy);
    if (check_members(&reader, &top, json, known)) {
        for (int d = 0; d < POLICY_DIRECTION_COUNT_ && !reader.stop; d++) {
            struct place place = {.member = known[d], .index = -1};
            if (json_object_get(json, known[d]) != NULL) {
                read_direction(&reader, &place, json_object_get(json, known[d]), d == POLICY_EGRESS, &policy.directions[d]);
            }
        }
    }
    if (reader.faulty) {
        policy_free(&policy);
        return -1;
    }
    *ret = policy;
    return 0;
}

int policy_parse(const json_t *json, struct policy *ret, struct error *err)
{
    return policy_parse_all(json, ret, NULL, NULL, err);
}
