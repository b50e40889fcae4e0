/*
 * Deleting links, many at once. Unregistering waits for RCU grace periods, once per request to the kernel and
 * not per link, so all links are moved to a group of their own, which is deleted as one; callers that come
 * while another one deletes are served together by the next.
 */
#include "core/together.h"
#include "host/link/rtnl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/random.h>

enum { GROUP_TRIES = 8 };

struct target {
    const char *name;
    const char *mark;
    int index; /* 0: there is none, or it is not ours */
};

struct request {
    struct together_request together; /* first: the next of a round is found by it */
    const char *mark;
    const char *const *names;
    size_t count;
};

struct targets {
    struct target *items; /* sorted by name */
    size_t count;
    uint32_t group;
    bool group_taken; /* by a link that is no target */
    size_t in_group;
};

static int by_name(const void *a, const void *b)
{
    const struct target *x = a;
    const struct target *y = b;
    return strcmp(x->name, y->name);
}

static struct target *find_target(const struct targets *targets, const char *name)
{
    const struct target key = {.name = name};
    return bsearch(&key, targets->items, targets->count, sizeof key, by_name);
}

static void match_link(const struct link_detail *link, void *ctx)
{
    struct targets *targets = ctx;
    struct target *target = find_target(targets, link->info.name);
    targets->group_taken = targets->group_taken || link->group == targets->group;
    if (target != NULL && link_alias_has_mark(link->info.alias, target->mark)) {
        target->index = link->info.index;
    }
}

static void match_member(const struct link_detail *link, void *ctx)
{
    struct targets *targets = ctx;
    if (link->group != targets->group) {
        return;
    }
    const struct target *target = find_target(targets, link->info.name);
    if (target == NULL || target->index != link->info.index || !link_alias_has_mark(link->info.alias, target->mark)) {
        targets->group_taken = true;
    } else {
        targets->in_group++;
    }
}

/* Finds the indexes of all targets, and a group that nobody is in. */
static int observe(struct rtnl *r, struct targets *targets)
{
    for (int tries = 0; tries < GROUP_TRIES; tries++) {
        targets->group_taken = false;
        if (getrandom(&targets->group, sizeof targets->group, 0) != (ssize_t)sizeof targets->group) {
            return EAGAIN;
        }
        targets->group = targets->group >> 2 | 0x40000000; /* nobody numbers groups by hand up here */
        int result = link_detail_dump(r, match_link, targets);
        if (result != 0 || (!targets->group_taken && !r->interrupted)) {
            return result;
        }
    }
    return targets->group_taken ? EBUSY : 0; /* links come and go all the time: what was seen is enough */
}

static int move_to_group(struct rtnl *r, int index, uint32_t group)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, IFLA_GROUP, group) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

static int delete_one(struct rtnl *r, int index)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    AUTO_MSG *msg = rtnl_msg(RTM_DELLINK, 0, &head, sizeof head);
    int result = rtnl_talk(r, msg, NULL, NULL);
    return result == ENODEV ? 0 : result;
}

static int delete_group(struct rtnl *r, uint32_t group)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    AUTO_MSG *msg = rtnl_msg(RTM_DELLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put_u32(msg, IFLA_GROUP, group) != 0) {
        return ENOMEM;
    }
    int result = rtnl_talk(r, msg, NULL, NULL);
    return result == ENODEV ? 0 : result;
}

static int delete_together(struct rtnl *r, struct targets *targets)
{
    int result = observe(r, targets);
    for (size_t i = 0; i < targets->count && result == 0; i++) {
        if (targets->items[i].index != 0) {
            result = move_to_group(r, targets->items[i].index, targets->group);
            if (result == ENODEV) {
                targets->items[i].index = 0;
                result = 0;
            }
        }
    }
    if (result != 0) {
        return result;
    }
    targets->group_taken = false;
    targets->in_group = 0;
    result = link_detail_dump(r, match_member, targets);
    if (result != 0 || targets->group_taken) {
        return result != 0 ? result : EBUSY; /* somebody joined our group: never delete it */
    }
    return targets->in_group > 0 ? delete_group(r, targets->group) : 0;
}

static int delete_many(struct rtnl *r, struct targets *targets)
{
    int result = EBUSY;
    for (int tries = 0; tries < GROUP_TRIES && result == EBUSY; tries++) {
        for (size_t i = 0; i < targets->count; i++) {
            targets->items[i].index = 0;
        }
        result = delete_together(r, targets);
    }
    return result;
}

static int delete_alone(struct rtnl *r, struct target *target)
{
    struct link_detail link;
    int result = link_detail_get(r, LINK_BY_NAME, target->name, &link);
    if (result != 0 || !link_alias_has_mark(link.info.alias, target->mark)) {
        return result == ENODEV ? 0 : result;
    }
    return delete_one(r, link.info.index);
}

static int serve(struct targets *targets, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    if (targets->count == 0) {
        return 0;
    }
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    qsort(targets->items, targets->count, sizeof *targets->items, by_name);
    int result = targets->count == 1 ? delete_alone(&r, targets->items) : delete_many(&r, targets);
    if (result != 0) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot delete link %s%s", targets->items[0].name, targets->count > 1 ? " and others" : "");
    }
    return 0;
}

static const struct request *request_of(const struct together_request *together)
{
    return (const struct request *)(const void *)together;
}

static void collect(const struct together_request *round, struct targets *targets)
{
    for (; round != NULL; round = round->next) {
        const struct request *request = request_of(round);
        for (size_t i = 0; i < request->count; i++) {
            targets->items[targets->count++] = (struct target){.name = request->names[i], .mark = request->mark};
        }
    }
}

static int serve_round(struct together_request *round, struct error *err)
{
    size_t total = 0;
    for (const struct together_request *q = round; q != NULL; q = q->next) {
        total += request_of(q)->count;
    }
    struct targets targets = {.items = calloc(total + 1, sizeof *targets.items)};
    if (targets.items == NULL) {
        return error_oom(err);
    }
    collect(round, &targets);
    int result = serve(&targets, err);
    free(targets.items);
    return result;
}

static struct together deletions = TOGETHER_INIT(serve_round);

int link_delete(const char *mark, const char *const *names, size_t count, struct error *err)
{
    struct request request = {.mark = mark, .names = names, .count = count};
    return together_do(&deletions, &request.together, err);
}
