#include "host/nft/ports.h"

#include "core/array.h"

#include "host/nft/dump.h"
#include "host/nft/elements.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum { ELEMENTS_PER_MESSAGE = 384, KEY_BYTES_MAX = 4 + 16 + 4, ELEMENT_BYTES = 7 * NLA_HDRLEN + KEY_BYTES_MAX + NFT_PORT6_DATA_BYTES };

_Static_assert(ELEMENTS_PER_MESSAGE *ELEMENT_BYTES + 1024 <= NFT_MESSAGE_MAX, "a message of elements fits its room");

/* The maps, and where in their keys what stands. */
struct map {
    unsigned set;
    uint8_t version;
    uint8_t protocol; /* of all elements; 0: it stands at the beginning of the key */
    bool at_address;  /* behind the protocol */
    uint32_t port_at;
};

static const struct map maps[] = {
    {NFT_SET_PORTS_TCP, IP_V4, IPPROTO_TCP, false, 0},
    {NFT_SET_PORTS_UDP, IP_V4, IPPROTO_UDP, false, 0},
    {NFT_SET_PORTS_AT4, IP_V4, 0, true, 8},
    {NFT_SET_PORTS6, IP_V6, 0, false, 4},
    {NFT_SET_PORTS_AT6, IP_V6, 0, true, 20},
};
enum { MAP_COUNT = sizeof maps / sizeof *maps };

static size_t address_bytes(uint8_t version)
{
    return version == IP_V4 ? 4 : 16;
}

static bool is_everywhere(const struct ip_addr *host)
{
    static const uint8_t zeroes[16];
    return memcmp(host->bytes, zeroes, sizeof zeroes) == 0;
}

static bool is_in_map(const struct nft_port *port, const struct map *map)
{
    return port->host.version == map->version && is_everywhere(&port->host) != map->at_address && (map->protocol == 0 || map->protocol == port->protocol);
}

static void put_data(struct nlmsghdr *h, uint16_t attribute, const void *data, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(h, attribute);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, data);
    mnl_attr_nest_end(h, nest);
}

static void put_element(struct nlmsghdr *h, const struct map *map, const struct nft_port *port)
{
    const uint16_t host_port = htons(port->host_port);
    const uint16_t guest_port = htons(port->guest_port);
    uint8_t key[KEY_BYTES_MAX] = {port->protocol}; /* of one protocol: what lies there is written over */
    uint8_t data[NFT_PORT6_DATA_BYTES] = {0};
    if (map->at_address) {
        memcpy(key + 4, port->host.bytes, address_bytes(map->version));
    }
    memcpy(key + map->port_at, &host_port, sizeof host_port);
    memcpy(data, port->address.bytes, address_bytes(map->version));
    memcpy(data + address_bytes(map->version), &guest_port, sizeof guest_port);
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    put_data(h, NFTA_SET_ELEM_KEY, key, nft_sets[map->set].key_bytes);
    put_data(h, NFTA_SET_ELEM_DATA, data, nft_sets[map->set].data_bytes);
    mnl_attr_nest_end(h, element);
}

/* Those that belong there. */
static void put_map(struct nft_batch *b, uint16_t type, const char *mark, const struct map *which, const struct nft_port *ports, size_t count)
{
    const struct nft_set_row *map = &nft_sets[which->set];
    struct nlmsghdr *h = NULL;
    struct nlattr *list = NULL;
    size_t in_message = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_in_map(&ports[i], which)) {
            continue;
        }
        if (h == NULL) {
            h = nft_batch_add(b, type, map->family, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, "elements of map %s", map->name);
            if (h == NULL) {
                return;
            }
            mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
            mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, map->name);
            list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
        }
        put_element(h, which, &ports[i]);
        if (++in_message == ELEMENTS_PER_MESSAGE) {
            mnl_attr_nest_end(h, list);
            nft_batch_close(b);
            h = NULL;
            in_message = 0;
        }
    }
    if (h != NULL) {
        mnl_attr_nest_end(h, list);
        nft_batch_close(b);
    }
}

void nft_put_ports(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_port *ports, size_t count)
{
    for (size_t i = 0; i < MAP_COUNT; i++) {
        put_map(b, type, mark, &maps[i], ports, count);
    }
}

int nft_ports_change(const char *mark, const struct nft_port *add, size_t add_count, const struct nft_port *remove, size_t remove_count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    nft_put_ports(&b, NFT_MSG_DELSETELEM, mark, remove, remove_count);
    nft_put_ports(&b, NFT_MSG_NEWSETELEM, mark, add, add_count);
    return nft_batch_commit(&b, mark, err);
}

/* What the maps hold, while it is read. */
struct found {
    struct nft_port *ports; /* owned */
    size_t count;
    size_t before; /* of other maps, read earlier */
    bool failed;
    const struct map *map;
    struct nft_port port; /* of the element that is being read */
};

static void add_found(struct found *found)
{
    struct nft_port *grown = array_grow(found->ports, found->count, sizeof *grown);
    if (grown == NULL) {
        found->failed = true;
        return;
    }
    found->ports = grown;
    found->ports[found->count++] = found->port;
}

static int read_value(const struct nlattr *attr, void *ctx)
{
    const struct nlattr **value = ctx;
    if (mnl_attr_get_type(attr) == NFTA_DATA_VALUE) {
        *value = attr;
    }
    return MNL_CB_OK;
}

static int read_member(const struct nlattr *attr, void *ctx)
{
    struct nft_port *port = &((struct found *)ctx)->port;
    const struct map *map = ((struct found *)ctx)->map;
    const struct nlattr *value = NULL;
    uint16_t type = mnl_attr_get_type(attr);
    if ((type != NFTA_SET_ELEM_KEY && type != NFTA_SET_ELEM_DATA) || mnl_attr_parse_nested(attr, read_value, &value) < 0 || value == NULL) {
        return MNL_CB_OK;
    }
    const uint8_t *bytes = mnl_attr_get_payload(value);
    const size_t len = mnl_attr_get_payload_len(value);
    const size_t address = address_bytes(map->version);
    uint16_t number = 0;
    if (type == NFTA_SET_ELEM_KEY && len >= map->port_at + sizeof number) {
        memcpy(&number, bytes + map->port_at, sizeof number);
        port->host_port = ntohs(number);
        port->protocol = map->protocol != 0 ? map->protocol : bytes[0];
        memcpy(port->host.bytes, bytes + 4, map->at_address ? address : 0);
    } else if (type == NFTA_SET_ELEM_DATA && len >= address + sizeof number) {
        memcpy(port->address.bytes, bytes, address);
        memcpy(&number, bytes + address, sizeof number);
        port->guest_port = ntohs(number);
    }
    return MNL_CB_OK;
}

static int read_element(const struct nlattr *attr, void *ctx)
{
    struct found *found = ctx;
    found->port = (struct nft_port){.host.version = found->map->version, .address.version = found->map->version};
    if (mnl_attr_get_type(attr) == NFTA_LIST_ELEM && mnl_attr_parse_nested(attr, read_member, ctx) >= 0) {
        add_found(found);
    }
    return MNL_CB_OK;
}

static int read_attributes(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS ? mnl_attr_parse_nested(attr, read_element, ctx) : MNL_CB_OK;
}

static void read_elements(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), read_attributes, ctx);
}

int nft_port_compare(const void *a, const void *b)
{
    const struct nft_port *x = a;
    const struct nft_port *y = b;
    if (x->protocol != y->protocol || x->host.version != y->host.version) {
        return x->protocol != y->protocol ? x->protocol - y->protocol : x->host.version - y->host.version;
    }
    return x->host_port != y->host_port ? x->host_port - y->host_port : memcmp(x->host.bytes, y->host.bytes, sizeof x->host.bytes);
}

static int compare_ports(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return nft_port_compare(a, b);
}

static void forget_map(void *ctx)
{
    struct found *found = ctx;
    found->count = found->before;
}

static bool drop_doubles(void *ctx)
{
    struct found *found = ctx;
    const size_t shown = found->count - found->before;
    const size_t left = shown == 0 ? 0 : nft_sort_unique(found->ports + found->before, shown, sizeof *found->ports, compare_ports, NULL);
    found->count = found->before + left;
    return left < shown;
}

static int dump_map(const char *mark, const struct map *which, struct found *found, struct error *err)
{
    const struct nft_dump dump = {.begin = forget_map, .each = read_elements, .has_doubles = drop_doubles, .ctx = found};
    found->before = found->count;
    found->map = which;
    if (nft_dump_set(mark, &nft_sets[which->set], &dump, err) != 0) {
        return -1;
    }
    return found->failed ? error_oom(err) : 0;
}

int nft_ports_list(const char *mark, struct nft_port **ret, size_t *ret_count, struct error *err)
{
    struct found found = {.ports = NULL};
    for (size_t i = 0; i < MAP_COUNT; i++) {
        if (dump_map(mark, &maps[i], &found, err) != 0) {
            free(found.ports);
            return -1;
        }
    }
    if (found.count > 0) {
        qsort(found.ports, found.count, sizeof *found.ports, nft_port_compare);
    }
    *ret = found.ports;
    *ret_count = found.count;
    return 0;
}
