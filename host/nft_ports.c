#include "host/nft_ports.h"

#include "host/nft_elements.h"
#include "host/nft_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum { ELEMENTS_PER_MESSAGE = 512, ELEMENT_BYTES = 7 * NLA_HDRLEN + 4 + NFT_PORT_DATA_BYTES, DUMP_TRIES = 5 };

_Static_assert(ELEMENTS_PER_MESSAGE *ELEMENT_BYTES + 1024 <= NFT_MESSAGE_MAX, "a message of elements fits its room");

static const struct nft_set_row *map_of(uint8_t protocol)
{
    return &nft_sets[protocol == IPPROTO_UDP ? NFT_SET_PORTS_UDP : NFT_SET_PORTS_TCP];
}

static void put_data(struct nlmsghdr *h, uint16_t attribute, const void *data, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(h, attribute);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, data);
    mnl_attr_nest_end(h, nest);
}

static void put_element(struct nlmsghdr *h, const struct nft_port *port)
{
    const uint16_t key = htons(port->host_port);
    const uint32_t address = htonl(port->address);
    const uint16_t guest_port = htons(port->guest_port);
    uint8_t data[NFT_PORT_DATA_BYTES] = {0};
    memcpy(data, &address, sizeof address);
    memcpy(data + sizeof address, &guest_port, sizeof guest_port);
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    put_data(h, NFTA_SET_ELEM_KEY, &key, sizeof key);
    put_data(h, NFTA_SET_ELEM_DATA, data, sizeof data);
    mnl_attr_nest_end(h, element);
}

/* Those of one protocol. */
static void put_map(struct nft_batch *b, uint16_t type, const char *mark, uint8_t protocol, const struct nft_port *ports,
                    size_t count)
{
    const struct nft_set_row *map = map_of(protocol);
    struct nlmsghdr *h = NULL;
    struct nlattr *list = NULL;
    size_t in_message = 0;
    for (size_t i = 0; i < count; i++) {
        if (ports[i].protocol != protocol) {
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
        put_element(h, &ports[i]);
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
    put_map(b, type, mark, IPPROTO_TCP, ports, count);
    put_map(b, type, mark, IPPROTO_UDP, ports, count);
}

int nft_ports_change(const char *mark, const struct nft_port *add, size_t add_count, const struct nft_port *remove,
                     size_t remove_count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    nft_put_ports(&b, NFT_MSG_DELSETELEM, mark, remove, remove_count);
    nft_put_ports(&b, NFT_MSG_NEWSETELEM, mark, add, add_count);
    return nft_batch_commit(&b, mark, err);
}

/* What the maps hold, while it is read. */
struct found {
    struct nft_port *ports; /* owned */
    size_t count, size;
    bool failed;
    uint8_t protocol;
    struct nft_port port; /* of the element that is being read */
};

static void add_found(struct found *found)
{
    if (found->count == found->size) {
        size_t size = found->size == 0 ? 64 : found->size * 2;
        struct nft_port *grown = reallocarray(found->ports, size, sizeof *grown);
        if (grown == NULL) {
            found->failed = true;
            return;
        }
        found->ports = grown;
        found->size = size;
    }
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
    const struct nlattr *value = NULL;
    uint16_t type = mnl_attr_get_type(attr);
    if ((type != NFTA_SET_ELEM_KEY && type != NFTA_SET_ELEM_DATA) || mnl_attr_parse_nested(attr, read_value, &value) < 0 ||
        value == NULL) {
        return MNL_CB_OK;
    }
    const uint8_t *bytes = mnl_attr_get_payload(value);
    uint16_t number = 0;
    if (type == NFTA_SET_ELEM_KEY && mnl_attr_get_payload_len(value) >= sizeof number) {
        memcpy(&number, bytes, sizeof number);
        port->host_port = ntohs(number);
    } else if (type == NFTA_SET_ELEM_DATA && mnl_attr_get_payload_len(value) >= sizeof(uint32_t) + sizeof number) {
        uint32_t address = 0;
        memcpy(&address, bytes, sizeof address);
        memcpy(&number, bytes + sizeof address, sizeof number);
        port->address = ntohl(address);
        port->guest_port = ntohs(number);
    }
    return MNL_CB_OK;
}

static int read_element(const struct nlattr *attr, void *ctx)
{
    struct found *found = ctx;
    found->port = (struct nft_port){.protocol = found->protocol};
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

static int dump_map(const char *mark, uint8_t protocol, struct found *found, struct error *err)
{
    const struct nft_set_row *map = map_of(protocol);
    const size_t before = found->count;
    char request[NFT_REQUEST_MAX];
    bool interrupted = true;
    int result = 0;
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    for (int tries = 0; tries < DUMP_TRIES && interrupted && result == 0; tries++) {
        struct nlmsghdr *h =
            nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, map->family, NLM_F_DUMP, (uint32_t)tries + 1);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, map->name);
        found->count = before;
        found->protocol = protocol;
        result = nft_query(nl, h, read_elements, found, &interrupted);
    }
    nft_socket_release(result == 0 || result == ENOENT);
    if (result != 0 && result != ENOENT) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot list map %s of firewall table %s", map->name, mark);
    }
    return found->failed ? error_oom(err) : 0;
}

static int compare(const void *a, const void *b)
{
    const struct nft_port *x = a;
    const struct nft_port *y = b;
    return x->protocol != y->protocol ? x->protocol - y->protocol : x->host_port - y->host_port;
}

/* A dump that was disturbed may show an element twice. */
static void sort_and_drop_doubles(struct found *found)
{
    size_t kept = 0;
    if (found->count == 0) {
        return;
    }
    qsort(found->ports, found->count, sizeof *found->ports, compare);
    for (size_t i = 0; i < found->count; i++) {
        if (kept == 0 || compare(&found->ports[kept - 1], &found->ports[i]) != 0) {
            found->ports[kept++] = found->ports[i];
        }
    }
    found->count = kept;
}

int nft_ports_list(const char *mark, struct nft_port **ret, size_t *ret_count, struct error *err)
{
    struct found found = {.ports = NULL};
    if (dump_map(mark, IPPROTO_TCP, &found, err) != 0 || dump_map(mark, IPPROTO_UDP, &found, err) != 0) {
        free(found.ports);
        return -1;
    }
    sort_and_drop_doubles(&found);
    *ret = found.ports;
    *ret_count = found.count;
    return 0;
}
