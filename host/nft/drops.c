#include "host/nft/drops.h"

#include "host/nft/batch.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

static const char *const names[NFT_DROP_COUNT_] = {
    [NFT_DROP_VLAN] = "vlan",
    [NFT_DROP_ETHER_TYPE] = "ether_type",
    [NFT_DROP_SOURCE_MAC] = "source_mac",
    [NFT_DROP_SOURCE_ADDRESS] = "source_address",
    [NFT_DROP_ARP_SENDER] = "arp_sender",
    [NFT_DROP_ARP_RATE] = "arp_rate",
    [NFT_DROP_ND_SENDER] = "nd_sender",
    [NFT_DROP_ND_RATE] = "nd_rate",
    [NFT_DROP_ROUTER_ADVERTISEMENT] = "router_advertisement",
    [NFT_DROP_DHCP_SERVER] = "dhcp_server",
    [NFT_DROP_IPV6] = "ipv6",
    [NFT_DROP_IP_OPTIONS] = "ip_options",
    [NFT_DROP_MALFORMED] = "malformed",
    [NFT_DROP_DESTINATION_MAC] = "destination_mac",
    [NFT_DROP_NO_UPLINK] = "no_uplink",
    [NFT_DROP_INVALID_FLOW] = "invalid_flow",
    [NFT_DROP_FLOW_LIMIT] = "flow_limit",
    [NFT_DROP_HOST_NETWORK] = "host_network",
    [NFT_DROP_HOST_PORT] = "host_port",
};

const char *nft_drop_name(unsigned reason)
{
    return reason < ARRAY_LEN(names) ? names[reason] : NULL;
}

/* NFTA_SET_ELEM_LIST_ELEMENTS > NFTA_LIST_ELEM > NFTA_SET_ELEM_EXPR > NFTA_EXPR_DATA > NFTA_COUNTER_PACKETS */
static int read_counter(const struct nlattr *attr, void *ctx)
{
    uint64_t packets = 0;
    if (mnl_attr_get_type(attr) == NFTA_COUNTER_PACKETS && mnl_attr_get_payload_len(attr) == sizeof packets) {
        memcpy(&packets, mnl_attr_get_payload(attr), sizeof packets);
        *(uint64_t *)ctx = be64toh(packets);
    }
    return MNL_CB_OK;
}

static int read_expression(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_EXPR_DATA ? mnl_attr_parse_nested(attr, read_counter, ctx) : MNL_CB_OK;
}

static int read_element(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_EXPR ? mnl_attr_parse_nested(attr, read_expression, ctx) : MNL_CB_OK;
}

static int read_list(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_LIST_ELEM ? mnl_attr_parse_nested(attr, read_element, ctx) : MNL_CB_OK;
}

static int read_attributes(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS ? mnl_attr_parse_nested(attr, read_list, ctx) : MNL_CB_OK;
}

static void read_answer(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), read_attributes, ctx);
}

/* Adds to *packets; an element, a set or a table that is not there counts 0. Returns 0 or a positive errno. */
static int add_counter(struct mnl_socket *nl, const char *mark, const struct nft_set_row *set, const void *who, uint32_t reason, uint64_t *packets)
{
    char request[NFT_REQUEST_MAX];
    uint8_t key[NFT_KEY_BYTES_MAX] = {0};
    uint64_t found = 0;
    memcpy(key, who, set->key_bytes - sizeof reason);
    memcpy(key + set->key_bytes - sizeof reason, &reason, sizeof reason);
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, set->family, 0, 1);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(h, NFTA_DATA_VALUE, set->key_bytes, key);
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, element);
    mnl_attr_nest_end(h, list);
    int result = nft_query(nl, h, read_answer, &found, NULL);
    *packets += found;
    return result == ENOENT ? 0 : result;
}

static int get_all(struct mnl_socket *nl, const char *mark, const struct nft_guest *guest, struct nft_drops *ret)
{
    static const uint8_t none[sizeof guest->address6];
    const bool has_ipv6 = memcmp(guest->address6, none, sizeof none) != 0;
    const uint32_t address = htonl(guest->address);
    char tap[NFT_IFNAME_BYTES] = {0};
    int result = 0;
    memcpy(tap, guest->tap, strnlen(guest->tap, sizeof tap - 1));
    for (uint32_t reason = 0; reason < NFT_DROP_COUNT_ && result == 0; reason++) {
        uint64_t *packets = &ret->packets[reason];
        if (names[reason] == NULL) {
            continue;
        }
        if (reason < NFT_DROP_TAP_COUNT_) {
            result = add_counter(nl, mark, &nft_sets[NFT_SET_DROPS], tap, reason, packets);
            continue;
        }
        result = add_counter(nl, mark, &nft_sets[NFT_SET_DROPS4], &address, reason, packets);
        if (result == 0 && has_ipv6) {
            result = add_counter(nl, mark, &nft_sets[NFT_SET_DROPS6], guest->address6, reason, packets);
        }
    }
    return result;
}

int nft_drops_get(const char *mark, const struct nft_guest *guest, struct nft_drops *ret, struct error *err)
{
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    int result = get_all(nl, mark, guest, ret);
    nft_socket_release(result == 0);
    if (result != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot read counters of firewall tables %s", mark);
    }
    return 0;
}
