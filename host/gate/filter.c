/* The gate's programs as filters of the bridge, by rtnetlink. */
#include "host/gate/parts.h"
#include "host/link/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum {
    GATE_PREFERENCE = 1, /* the first of all */
    GATE_HANDLE = 1,
};

static const uint32_t parents[GATE_SIDE_COUNT_] = {
    [GATE_IN] = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
    [GATE_OUT] = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
};

static struct tcmsg filter_head(int index, enum gate_side side)
{
    return (struct tcmsg){
        .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = parents[side], .tcm_info = TC_H_MAKE((uint32_t)GATE_PREFERENCE << 16, htons(ETH_P_ALL))};
}

struct look {
    const struct gate_program *program;
    bool right, other; /* ours; another one at its place */
};

static bool is_ours(const struct tcmsg *head, struct nlattr *tb[], const struct gate_program *program)
{
    struct nlattr *options[TCA_BPF_MAX + 1] = {NULL};
    if (head->tcm_handle != GATE_HANDLE || tb[TCA_KIND] == NULL || nla_strcmp(tb[TCA_KIND], "bpf") != 0 || tb[TCA_OPTIONS] == NULL ||
        nla_parse_nested(options, TCA_BPF_MAX, tb[TCA_OPTIONS], NULL) != 0) {
        return false;
    }
    struct nlattr *flags = options[TCA_BPF_FLAGS];
    struct nlattr *tag = options[TCA_BPF_TAG];
    return (rtnl_u32(flags, 0) & TCA_BPF_FLAG_ACT_DIRECT) != 0 && tag != NULL && nla_len(tag) == GATE_TAG_BYTES &&
           memcmp(nla_data(tag), program->tag, GATE_TAG_BYTES) == 0 && TC_H_MIN(head->tcm_info) == htons(ETH_P_ALL);
}

static void got_filter(const struct nlmsghdr *h, void *ctx)
{
    struct look *look = ctx;
    struct nlattr *tb[TCA_MAX + 1] = {NULL};
    const struct tcmsg *head = nlmsg_data(h);
    if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *head, tb, TCA_MAX, NULL) != 0 ||
        head->tcm_info >> 16 != GATE_PREFERENCE || head->tcm_handle == 0) { /* 0: the list itself, whose filters follow */
        return;
    }
    bool ours = is_ours(head, tb, look->program);
    look->right = look->right || ours;
    look->other = look->other || !ours;
}

static int look_at_filter(struct rtnl *r, int index, enum gate_side side, struct look *look, struct error *err)
{
    struct tcmsg head = filter_head(index, side);
    head.tcm_info = 0; /* all of them */
    AUTO_MSG *msg = rtnl_msg(RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof head);
    int result = rtnl_talk(r, msg, got_filter, look);
    return result == 0 ? 0 : rtnl_fail(r, ERR_FIREWALL_SETUP_FAILED, result, err, "cannot list the filters of the bridge");
}

int gate_filter_check(int index, enum gate_side side, const struct gate_program *program, char found[GATE_FOUND_MAX], struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct look look = {.program = program};
    if (rtnl_open(&r, err) != 0 || look_at_filter(&r, index, side, &look, err) != 0) {
        return -1;
    }
    if (!look.right || look.other) {
        (void)snprintf(found, GATE_FOUND_MAX, "the bridge's filter %s %s", gate_program_name(side), look.other ? "is not alone at its place" : "is gone");
    }
    return 0;
}

static int change_qdisc(struct rtnl *r, int index, int type, int flags)
{
    const struct tcmsg head = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_CLSACT, .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0)};
    AUTO_MSG *msg = rtnl_msg(type, flags, &head, sizeof head);
    if (msg != NULL && type == RTM_NEWQDISC && nla_put_string(msg, TCA_KIND, "clsact") != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

/* `ingress` would be at the same place, but knows one side only. The kernel refuses (EINVAL) to change the one into the other. */
static int add_qdisc(struct rtnl *r, int index)
{
    int result = change_qdisc(r, index, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
    if (result == EEXIST) {
        result = change_qdisc(r, index, RTM_NEWQDISC, NLM_F_REPLACE);
    }
    if (result == EINVAL) {
        result = change_qdisc(r, index, RTM_DELQDISC, 0);
        result = result == 0 ? change_qdisc(r, index, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL) : result;
    }
    return result;
}

static int add_filter(struct rtnl *r, int index, enum gate_side side, const struct gate_program *program)
{
    struct tcmsg head = filter_head(index, side);
    head.tcm_handle = GATE_HANDLE;
    AUTO_MSG *msg = rtnl_msg(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof head);
    struct nlattr *options = msg == NULL || nla_put_string(msg, TCA_KIND, "bpf") != 0 ? NULL : nla_nest_start(msg, TCA_OPTIONS);
    if (options == NULL || nla_put_u32(msg, TCA_BPF_FD, (uint32_t)program->fd) != 0 || nla_put_string(msg, TCA_BPF_NAME, gate_program_name(side)) != 0 ||
        nla_put_u32(msg, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT) != 0) {
        return ENOMEM;
    }
    (void)nla_nest_end(msg, options);
    return rtnl_talk(r, msg, NULL, NULL);
}

/* Everything at our place: the bridge is ours, and so is the first place in it. */
static int clear_place(struct rtnl *r, int index, enum gate_side side)
{
    struct tcmsg head = filter_head(index, side);
    head.tcm_info = TC_H_MAKE((uint32_t)GATE_PREFERENCE << 16, 0);
    AUTO_MSG *msg = rtnl_msg(RTM_DELTFILTER, 0, &head, sizeof head);
    int result = rtnl_talk(r, msg, NULL, NULL);
    return result == ENOENT || result == EINVAL ? 0 : result;
}

int gate_filter_apply(int index, enum gate_side side, const struct gate_program *program, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct look look = {.program = program};
    if (rtnl_open(&r, err) != 0 || look_at_filter(&r, index, side, &look, err) != 0) {
        return -1;
    }
    if (look.right && !look.other) {
        return 0;
    }
    int result = add_qdisc(&r, index);
    if (result == 0 && look.other) {
        result = clear_place(&r, index, side);
    }
    if (result == 0) {
        result = add_filter(&r, index, side, program);
    }
    return result == 0 ? 0 : rtnl_fail(&r, ERR_FIREWALL_SETUP_FAILED, result, err, "cannot set the bridge's filter %s", gate_program_name(side));
}
