#include "host/nft/conntrack.h"

#include "core/cleanup.h"
#include "core/together.h"
#include "host/link/mnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BUFFER_BYTES = 64 * 1024, REQUEST_BYTES = 1024 };

/* One direction of a flow. */
struct tuple {
    struct ip_addr source, destination;
    uint8_t protocol;
    uint16_t source_port, destination_port; /* host byte order; 0 when there is none */
};

/* A flow in a message, as far as it is needed; what is pointed to lies in the message. */
struct entry {
    struct tuple original, reply;
    uint32_t status;
    const struct nlattr *original_attr, *id_attr, *zone_attr;
};

/* Requests to delete, one after the other. */
struct cuts {
    bool (*forbidden)(const struct conntrack_flow *flow, void *ctx);
    void *ctx;
    char *bytes; /* owned */
    size_t len, size, count;
    bool failed; /* out of memory */
};

static int parse_addresses(const struct nlattr *attr, void *ctx)
{
    struct tuple *tuple = ctx;
    const uint16_t type = mnl_attr_get_type(attr);
    const bool v4 = type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST;
    const bool source = type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC;
    struct ip_addr *address = source ? &tuple->source : &tuple->destination;
    if (type < CTA_IP_V4_SRC || type > CTA_IP_V6_DST || mnl_attr_get_payload_len(attr) != (v4 ? 4 : 16)) {
        return MNL_CB_OK;
    }
    address->version = v4 ? IP_V4 : IP_V6;
    memcpy(address->bytes, mnl_attr_get_payload(attr), v4 ? 4 : 16);
    return MNL_CB_OK;
}

static int parse_protocol(const struct nlattr *attr, void *ctx)
{
    struct tuple *tuple = ctx;
    if (mnl_attr_get_type(attr) == CTA_PROTO_NUM && mnl_attr_get_payload_len(attr) >= sizeof(uint8_t)) {
        tuple->protocol = mnl_attr_get_u8(attr);
    } else if (mnl_attr_get_type(attr) == CTA_PROTO_SRC_PORT && mnl_attr_get_payload_len(attr) >= sizeof(uint16_t)) {
        tuple->source_port = ntohs(mnl_attr_get_u16(attr));
    } else if (mnl_attr_get_type(attr) == CTA_PROTO_DST_PORT && mnl_attr_get_payload_len(attr) >= sizeof(uint16_t)) {
        tuple->destination_port = ntohs(mnl_attr_get_u16(attr));
    }
    return MNL_CB_OK;
}

static int parse_tuple(const struct nlattr *attr, void *ctx)
{
    if (mnl_attr_get_type(attr) == CTA_TUPLE_IP) {
        return mnl_attr_parse_nested(attr, parse_addresses, ctx);
    }
    return mnl_attr_get_type(attr) == CTA_TUPLE_PROTO ? mnl_attr_parse_nested(attr, parse_protocol, ctx) : MNL_CB_OK;
}

static int parse_flow(const struct nlattr *attr, void *ctx)
{
    struct entry *entry = ctx;
    switch (mnl_attr_get_type(attr)) {
    case CTA_TUPLE_ORIG:
        entry->original_attr = attr;
        return mnl_attr_parse_nested(attr, parse_tuple, &entry->original);
    case CTA_TUPLE_REPLY:
        return mnl_attr_parse_nested(attr, parse_tuple, &entry->reply);
    case CTA_STATUS:
        entry->status = mnl_attr_get_payload_len(attr) >= sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attr)) : 0;
        break;
    case CTA_ID:
        entry->id_attr = attr;
        break;
    case CTA_ZONE:
        entry->zone_attr = attr;
        break;
    default: /* the kernel's other attributes */
        break;
    }
    return MNL_CB_OK;
}

static void put_copy(struct nlmsghdr *h, const struct nlattr *attr)
{
    if (attr != NULL) {
        mnl_attr_put(h, attr->nla_type, mnl_attr_get_payload_len(attr), mnl_attr_get_payload(attr));
    }
}

static bool note_cut(struct cuts *cuts, const struct entry *entry, uint8_t family)
{
    if (cuts->size - cuts->len < REQUEST_BYTES) {
        size_t size = cuts->size == 0 ? (size_t)16 * REQUEST_BYTES : cuts->size * 2;
        char *grown = realloc(cuts->bytes, size);
        if (grown == NULL) {
            return false;
        }
        cuts->bytes = grown;
        cuts->size = size;
    }
    struct nlmsghdr *h = mnl_nlmsg_put_header(cuts->bytes + cuts->len);
    h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    h->nlmsg_seq = (uint32_t)++cuts->count;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(h, sizeof *head);
    *head = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
    put_copy(h, entry->original_attr);
    put_copy(h, entry->id_attr);
    put_copy(h, entry->zone_attr);
    cuts->len += NLMSG_ALIGN(h->nlmsg_len);
    return true;
}

static void look_at_flow(const struct nlmsghdr *h, void *ctx)
{
    struct cuts *cuts = ctx;
    const struct nfgenmsg *head = mnl_nlmsg_get_payload(h);
    struct entry entry = {.status = 0};
    if (h->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)) {
        return;
    }
    (void)mnl_attr_parse(h, sizeof *head, parse_flow, &entry);
    /* Without its number another flow could be meant. */
    if (entry.original_attr == NULL || entry.id_attr == NULL || mnl_attr_get_payload_len(entry.original_attr) > REQUEST_BYTES / 2) {
        return;
    }
    const struct conntrack_flow flow = {.protocol = entry.original.protocol,
                                        .source = entry.original.source,
                                        .destination = entry.reply.source,
                                        .port = entry.reply.source_port,
                                        .published = (entry.status & (IPS_DST_NAT | IPS_EXPECTED)) == IPS_DST_NAT,
                                        .asked = entry.original.destination,
                                        .asked_port = entry.original.destination_port,
                                        .shown = entry.reply.destination};
    if (cuts->forbidden(&flow, cuts->ctx) && !note_cut(cuts, &entry, head->nfgen_family)) {
        cuts->failed = true;
    }
}

static int dump_flows(struct mnl_socket *nl, char *buf, struct cuts *cuts)
{
    char request[64];
    struct nlmsghdr *h = mnl_nlmsg_put_header(request);
    h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(h, sizeof *head);
    *head = (struct nfgenmsg){.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
    return mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? errno : mnl_read_answer(nl, buf, BUFFER_BYTES, look_at_flow, cuts, NULL);
}

static int send_cuts(struct mnl_socket *nl, char *buf, const struct cuts *cuts)
{
    for (size_t at = 0; at < cuts->len;) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)(cuts->bytes + at);
        int result = mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? errno : mnl_read_answer(nl, buf, BUFFER_BYTES, NULL, NULL, NULL);
        if (result != 0 && result != ENOENT) {
            return result;
        }
        at += NLMSG_ALIGN(h->nlmsg_len);
    }
    return 0;
}

static int cut_by(bool (*forbidden)(const struct conntrack_flow *flow, void *ctx), void *ctx, struct error *err)
{
    struct cuts cuts = {.forbidden = forbidden, .ctx = ctx};
    char *buf = malloc(BUFFER_BYTES);
    struct mnl_socket *nl = buf == NULL ? NULL : mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    int result = buf == NULL ? ENOMEM : 0;
    if (result == 0) {
        result = nl == NULL || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) != 0 ? errno : dump_flows(nl, buf, &cuts);
    }
    if (result == 0 && !cuts.failed) {
        result = send_cuts(nl, buf, &cuts);
    }
    if (nl != NULL) {
        (void)mnl_socket_close(nl);
    }
    free(buf);
    free(cuts.bytes);
    if (cuts.failed || result == ENOMEM) {
        return error_oom(err);
    }
    if (result != 0) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot cut the flows that are forbidden now");
    }
    return 0;
}

/* ---- one look for all who ask at the same time ---- */

/* The kernel walks its whole table for each dump, some milliseconds even when it is empty: a hundred VMs that end at once are one walk, or a few. */
struct request {
    struct together_request together; /* first: the next of a round is found by it */
    bool (*forbidden)(const struct conntrack_flow *flow, void *ctx);
    void *ctx;
    size_t found;
};

static bool is_forbidden_by_any(const struct conntrack_flow *flow, void *ctx)
{
    for (struct together_request *q = ctx; q != NULL; q = q->next) {
        struct request *request = (struct request *)(void *)q;
        if (request->forbidden(flow, request->ctx)) {
            request->found++;
            return true;
        }
    }
    return false;
}

static int cut_round(struct together_request *round, struct error *err)
{
    return cut_by(is_forbidden_by_any, round, err);
}

static struct together looks = TOGETHER_INIT(cut_round);

int conntrack_cut(bool (*forbidden)(const struct conntrack_flow *flow, void *ctx), void *ctx, size_t *ret_cut, struct error *err)
{
    struct request request = {.forbidden = forbidden, .ctx = ctx};
    if (together_do(&looks, &request.together, err) != 0) {
        return -1;
    }
    if (ret_cut != NULL) {
        *ret_cut = request.found;
    }
    return 0;
}

static bool read_address(const struct sockaddr *from, struct ip_addr *ret)
{
    *ret = (struct ip_addr){.version = IP_NONE};
    if (from != NULL && from->sa_family == AF_INET) {
        ret->version = IP_V4;
        memcpy(ret->bytes, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from != NULL && from->sa_family == AF_INET6) {
        ret->version = IP_V6;
        memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    }
    return ret->version != IP_NONE;
}

static bool is_named(const struct ifaddrs *entry, const char *const *links, size_t link_count)
{
    bool named = links == NULL;
    for (size_t i = 0; i < link_count && !named; i++) {
        named = strcmp(entry->ifa_name, links[i]) == 0;
    }
    return named;
}

int conntrack_local_addresses(const char *const *links, size_t link_count, struct ip_addr **ret, size_t *ret_count, struct error *err)
{
    struct ifaddrs *list = NULL;
    size_t size = 0;
    size_t count = 0;
    if (getifaddrs(&list) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the host's addresses could not be listed");
    }
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
        size++;
    }
    struct ip_addr *addresses = calloc(size + 1, sizeof *addresses);
    for (const struct ifaddrs *i = list; i != NULL && addresses != NULL; i = i->ifa_next) {
        count += is_named(i, links, link_count) && read_address(i->ifa_addr, &addresses[count]) ? 1 : 0;
    }
    freeifaddrs(list);
    if (addresses == NULL) {
        return error_oom(err);
    }
    *ret = addresses;
    *ret_count = count;
    return 0;
}
