#include "host/link/uplinks.h"

#include "host/link/uplinks_parts.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { TRIES = 8 };

/* What is behind these bytes is sent nowhere, or never leaves. */
static const struct space {
    unsigned char family;
    enum ip_version version;
    unsigned first, last; /* first bytes of addresses that can be sent to */
} spaces[] = {{AF_INET, IP_V4, 1, 223}, {AF_INET6, IP_V6, 0x20, 0x3f}};

struct search {
    struct rtnl *r;
    const struct uplinks_question *question;
    struct uplinks *found;
    struct uplinks_map map;
    const struct space *space;
    int bridge;
};

static bool is_avoided(const struct search *search, const struct ip_addr *address)
{
    bool v4 = search->space->version == IP_V4;
    unsigned first = address->bytes[0];
    uint32_t number = (uint32_t)first << 24 | (uint32_t)address->bytes[1] << 16 | (uint32_t)address->bytes[2] << 8 | address->bytes[3];
    return first < search->space->first || first > search->space->last ||
           (v4 && (first == 10 || first == 127 || ipv4_net_contains(search->question->subnet, number)));
}

/* One that is nobody's own network. */
static struct ip_addr address_in(const struct search *search, unsigned first)
{
    struct ip_addr address = {.version = (uint8_t)search->space->version, .bytes = {(uint8_t)first, 9, 33, 77}};
    if (search->space->version == IP_V6) {
        address.bytes[15] = 1;
    }
    return address;
}

static bool add_name(struct uplinks *found, const char *name, const struct ip_addr *asked)
{
    size_t before = found->names.count;
    if (!interface_names_add(&found->names, name)) {
        found->left_out++;
        return false;
    }
    if (found->names.count > before) {
        found->asked[before] = (struct ip_addr){.version = IP_NONE};
    }
    for (size_t i = 0; i < found->names.count; i++) {
        if (strcmp(found->names.items[i], name) == 0 && found->asked[i].version == IP_NONE && asked->version == IP_V4) {
            found->asked[i] = *asked;
        }
    }
    return true;
}

static bool add_links(struct search *search, const struct route_answer *answer, const struct ip_addr *asked)
{
    bool leads = false;
    for (size_t i = 0; i < answer->count; i++) {
        char name[IF_NAMESIZE];
        if (answer->links[i] != search->bridge && if_indextoname((unsigned)answer->links[i], name) != NULL && strcmp(name, "lo") != 0) {
            leads = add_name(search->found, name, asked) || leads;
        }
    }
    return leads;
}

static const char *words_of(int refused)
{
    const char *words = strerrordesc_np(refused);
    bool source = refused == EINVAL || refused == EXDEV;
    return source ? "a blackhole, or routes by which the host does not take guests for what comes from the bridge" : words != NULL ? words : "no route";
}

static void note_hole(struct search *search, unsigned first, unsigned last, int refused)
{
    char *hole = search->space->version == IP_V4 ? search->found->hole4 : search->found->hole6;
    char from[IP_TEXT_MAX];
    char to[IP_TEXT_MAX];
    struct ip_addr a = {.version = (uint8_t)search->space->version, .bytes = {(uint8_t)first}};
    struct ip_addr b = a;
    memset(b.bytes, 0xff, a.version == IP_V4 ? 4 : sizeof b.bytes);
    b.bytes[0] = (uint8_t)last;
    if (hole[0] == '\0') {
        (void)snprintf(hole, UPLINKS_TEXT_MAX, "%s to %s (%s)", ip_addr_format(&a, from), ip_addr_format(&b, to), words_of(refused));
    }
}

static int ask(struct search *search, struct route_question *question, struct route_answer *ret)
{
    int result = route_ask(search->r, question, ret);
    if (result == 0 && search->question->no_carrier && (ret->refused == EXDEV || ret->refused == EINVAL)) {
        struct route_question own = {.family = question->family, .destination = question->destination};
        struct route_answer answer;
        result = route_ask(search->r, &own, &answer);
        *ret = result == 0 ? answer : *ret;
    }
    return result;
}

/* One kind of packet to one part of the addresses: the first look-up that no narrower route answers counts. */
static int ask_part(struct search *search, const struct route_question *class, unsigned first, unsigned last)
{
    struct route_question question = *class;
    struct route_answer answer;
    int refused = 0;
    unsigned step = (last - first) / TRIES + 1;
    for (unsigned byte = first; byte <= last; byte += step) {
        question.destination = address_in(search, byte);
        if (is_avoided(search, &question.destination)) {
            continue;
        }
        int result = ask(search, &question, &answer);
        if (result != 0) {
            return result;
        }
        bool wide = answer.refused == 0 && answer.prefix < UPLINKS_PREFIX_MAX;
        if (wide && add_links(search, &answer, &question.destination)) {
            bool *leads = search->space->version == IP_V4 ? &search->found->ipv4 : &search->found->ipv6;
            *leads = true;
            return 0;
        }
        refused = answer.refused != 0 ? answer.refused : refused;
    }
    if (refused != 0) {
        note_hole(search, first < search->space->first ? search->space->first : first, last > search->space->last ? search->space->last : last, refused);
    }
    return 0;
}

static int ask_parts(struct search *search, const struct route_question *class)
{
    int result = 0;
    unsigned first = 0;
    for (unsigned block = 1; block <= PARTS_MAX && result == 0; block++) {
        if (!search->map.starts[block] && block < PARTS_MAX) {
            continue;
        }
        unsigned last = block * 2 - 1;
        if (last >= search->space->first && first <= search->space->last) {
            result = ask_part(search, class, first, last);
        }
        first = block * 2;
    }
    return result;
}

/* No rule of ports looks at ICMP. */
static int ask_class(struct search *search, const struct route_question *class)
{
    const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, search->space->version == IP_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6};
    size_t count = class->port != 0 || class->source_port != 0 ? 2 : ARRAY_LEN(protocols);
    int result = 0;
    if (!search->map.by_protocol || class->protocol != 0) {
        return ask_parts(search, class);
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        struct route_question one = *class;
        one.protocol = protocols[i];
        result = ask_parts(search, &one);
    }
    return result;
}

static void note_unused(struct search *search)
{
    struct uplinks *found = search->found;
    for (size_t i = 0; i < search->map.beside_count; i++) {
        char name[IF_NAMESIZE];
        char net[IP_NET_TEXT_MAX];
        int link = search->map.besides[i].link;
        if (link == search->bridge || if_indextoname((unsigned)link, name) == NULL || interface_names_have(&found->names, name)) {
            continue;
        }
        if (found->unused_count++ == 0) {
            (void)snprintf(found->unused, sizeof found->unused, "%s by %s", ip_net_format(&search->map.besides[i].net, net), name);
        }
    }
}

static int search_space(struct search *search)
{
    int result = uplinks_map_read(search->r, search->question, search->space->family, search->bridge, &search->map);
    if (search->space->version == IP_V6 && (result == EAFNOSUPPORT || result == EOPNOTSUPP)) {
        note_hole(search, search->space->first, search->space->last, result); /* no IPv6 in this kernel */
        return 0;
    }
    for (size_t i = 0; i < search->map.class_count && result == 0; i++) {
        result = ask_class(search, &search->map.classes[i]);
    }
    search->found->left_out += search->map.left_out + search->map.unasked;
    return result;
}

int uplinks_find(const struct uplinks_question *question, struct uplinks *ret, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    int result = 0;
    struct search searches[ARRAY_LEN(spaces)];
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    size_t count = question->subnet6 != NULL ? ARRAY_LEN(spaces) : 1;
    for (size_t i = 0; i < count && result == 0; i++) {
        searches[i] = (struct search){.r = &r, .question = question, .found = ret, .space = &spaces[i], .bridge = (int)if_nametoindex(question->bridge)};
        result = search_space(&searches[i]);
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        note_unused(&searches[i]);
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up where guests leave");
}

static void tell_answer(const char *uplink, const struct route_answer *answer, char *words)
{
    char name[IF_NAMESIZE] = "nowhere";
    if (answer->refused == EXDEV || answer->refused == EINVAL) {
        (void)snprintf(words, UPLINKS_TEXT_MAX, "what comes in by %s for guests is dropped, as the host would not answer by it (rp_filter)", uplink);
    } else if (answer->refused != 0) {
        (void)snprintf(words, UPLINKS_TEXT_MAX, "what comes in by %s for guests is not let through (%s)", uplink, words_of(answer->refused));
    } else {
        (void)(answer->count > 0 && if_indextoname((unsigned)answer->links[0], name) != NULL);
        (void)snprintf(words, UPLINKS_TEXT_MAX, "what comes in by %s for guests is led to %s", uplink, name);
    }
}

int uplinks_check_answers(const struct uplinks_question *question, const struct uplinks *found, char words[UPLINKS_TEXT_MAX], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    int bridge = (int)if_nametoindex(question->bridge);
    words[0] = '\0';
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < found->names.count && words[0] == '\0'; i++) {
        struct route_answer answer;
        const struct route_question ask_back = {.family = AF_INET,
                                                .input = (int)if_nametoindex(found->names.items[i]),
                                                .source = found->asked[i],
                                                .destination = ip_addr_from_ipv4(question->gateway + 1)};
        if (ask_back.input == 0 || ask_back.source.version != IP_V4) {
            continue;
        }
        int result = route_ask(&r, &ask_back, &answer);
        if (result != 0) {
            return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up where answers to guests go");
        }
        if (answer.refused != 0 || answer.count != 1 || answer.links[0] != bridge) {
            tell_answer(found->names.items[i], &answer, words);
        }
    }
    return 0;
}
