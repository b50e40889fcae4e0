/* One look-up in the kernel's routing. */
#include "host/link/uplinks_parts.h"

#include <errno.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static void add_link(struct route_answer *answer, int index)
{
    bool there = index == 0;
    for (size_t i = 0; i < answer->count; i++) {
        there = there || answer->links[i] == index;
    }
    if (!there && answer->count < ROUTE_HOPS_MAX) {
        answer->links[answer->count++] = index;
    }
}

static void add_hops(const struct nlattr *many, struct route_answer *answer)
{
    const struct rtnexthop *hop = nla_data(many);
    int left = nla_len(many);
    while (RTNH_OK(hop, left)) {
        if ((hop->rtnh_flags & RTNH_F_DEAD) == 0) {
            add_link(answer, hop->rtnh_ifindex);
        }
        left -= (int)RTNH_ALIGN(hop->rtnh_len);
        hop = RTNH_NEXT(hop);
    }
}

struct got {
    struct route_answer *answer;
    uint32_t object;                  /* of next hops, when only that was told (nexthop_compat_mode 0) */
    uint32_t members[ROUTE_HOPS_MAX]; /* of a group of them */
    size_t member_count;
};

static void got_route(const struct nlmsghdr *h, void *ctx)
{
    struct got *got = ctx;
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    const struct rtmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, RTA_MAX, NULL) != 0) {
        return;
    }
    got->answer->prefix = head->rtm_dst_len;
    got->answer->refused = head->rtm_type == RTN_UNICAST ? 0 : EHOSTUNREACH;
    if (head->rtm_type != RTN_UNICAST) {
        return;
    }
    if (tb[RTA_MULTIPATH] != NULL) {
        add_hops(tb[RTA_MULTIPATH], got->answer);
    } else {
        add_link(got->answer, (int)rtnl_u32(tb[RTA_OIF], 0));
    }
    got->object = got->answer->count == 0 ? rtnl_u32(tb[RTA_NH_ID], 0) : 0;
}

static void got_object(const struct nlmsghdr *h, void *ctx)
{
    struct got *got = ctx;
    struct nlattr *tb[NHA_MAX + 1] = {NULL};
    if (h->nlmsg_type != RTM_NEWNEXTHOP || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(struct nhmsg), tb, NHA_MAX, NULL) != 0) {
        return;
    }
    add_link(got->answer, (int)rtnl_u32(tb[NHA_OIF], 0));
    const struct nexthop_grp *members = tb[NHA_GROUP] != NULL ? nla_data(tb[NHA_GROUP]) : NULL;
    size_t count = members != NULL ? (size_t)nla_len(tb[NHA_GROUP]) / sizeof *members : 0;
    for (size_t i = 0; i < count && got->member_count < ROUTE_HOPS_MAX; i++) {
        got->members[got->member_count++] = members[i].id;
    }
}

static int ask_object(struct rtnl *r, uint32_t id, struct got *got)
{
    const struct nhmsg head = {.nh_family = AF_UNSPEC};
    AUTO_MSG *msg = rtnl_msg(RTM_GETNEXTHOP, 0, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, NHA_ID, id) != 0) {
        return ENOMEM;
    }
    int result = rtnl_talk(r, msg, got_object, got);
    return result == ENOENT ? 0 : result; /* it went just now, and that is told */
}

static int add_objects(struct rtnl *r, struct got *got)
{
    int result = ask_object(r, got->object, got);
    for (size_t i = 0; i < got->member_count && result == 0; i++) {
        result = ask_object(r, got->members[i], got); /* groups have no groups */
    }
    return result;
}

static int put_address(struct nl_msg *msg, int type, const struct ip_addr *address)
{
    return address->version == IP_NONE ? 0 : nla_put(msg, type, address->version == IP_V4 ? 4 : 16, address->bytes);
}

static int put_question(struct nl_msg *msg, const struct route_question *question)
{
    uint8_t protocol = question->protocol;
    return put_address(msg, RTA_DST, &question->destination) != 0 || put_address(msg, RTA_SRC, &question->source) != 0 ||
                   (question->input != 0 && nla_put_u32(msg, RTA_IIF, (uint32_t)question->input) != 0) ||
                   (protocol != 0 && nla_put_u8(msg, RTA_IP_PROTO, protocol) != 0) ||
                   (question->source_port != 0 && nla_put_u16(msg, RTA_SPORT, htons(question->source_port)) != 0) ||
                   (question->port != 0 && nla_put_u16(msg, RTA_DPORT, htons(question->port)) != 0)
               ? ENOMEM
               : 0;
}

/* What a packet can meet, as against a question that could not be asked. */
static bool is_refusal(int result)
{
    return result == ENETUNREACH || result == EHOSTUNREACH || result == EACCES || result == EINVAL || result == EXDEV || result == ENODEV ||
           result == EAFNOSUPPORT || result == EOPNOTSUPP || result == EAGAIN || result == ENETDOWN;
}

int route_ask(struct rtnl *r, const struct route_question *question, struct route_answer *ret)
{
    unsigned char bits = question->family == AF_INET ? 32 : 128;
    const struct rtmsg head = {.rtm_family = question->family,
                               .rtm_dst_len = bits,
                               .rtm_src_len = question->source.version != IP_NONE ? bits : 0,
                               .rtm_tos = question->service,
                               .rtm_flags = RTM_F_FIB_MATCH};
    struct got got = {.answer = ret};
    *ret = (struct route_answer){.refused = ENETUNREACH};
    AUTO_MSG *msg = rtnl_msg(RTM_GETROUTE, 0, &head, sizeof head);
    int result = msg == NULL ? ENOMEM : put_question(msg, question);
    result = result == 0 ? rtnl_talk(r, msg, got_route, &got) : result;
    if (is_refusal(result)) {
        ret->refused = result;
        return 0;
    }
    return result == 0 && got.object != 0 ? add_objects(r, &got) : result;
}
