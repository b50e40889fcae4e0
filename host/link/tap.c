/*
 * TAPs of guests.
 *
 * A TAP is made, named ours, put into the bridge and isolated while it still belongs to this process's
 * descriptor, and is made persistent last: a crash before that leaves nothing at all. It gets up in the
 * message that isolates it, so no frame ever passes a port that is not isolated. One that lost its bridge is
 * taken down before it is given back to it, for the same reason.
 *
 * The guest's MAC is a static entry of the bridge's table, and the port neither learns nor takes part in
 * flooding of unknown unicast frames: what the host sends to one guest is never seen by another.
 *
 * Frames to 01:80:c2:00:00:0X are not bridged by default but delivered on the port itself, past the
 * firewall's bridge chain and with the TAP as incoming interface (br_handle_frame() in
 * net/bridge/br_input.c). So the port bridges all these groups (but for 01, which the kernel always drops);
 * then its every frame goes by the chain. NOARP is the second lock on that door.
 */
#include "host/link/rtnl.h"
#include "host/process/spawn_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

enum {
    TAP_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
    GROUP_FORWARD_ALL = 0xfffd,
    ADDR_GEN_MODE_NONE = 1, /* IN6_ADDR_GEN_MODE_NONE; its header clashes with that of the C library */
    PERSIST_TRIES = 100,    /* of PERSIST_WAIT_MS each */
    PERSIST_WAIT_MS = 10,
    ENSURE_TRIES = 3,
};

struct wanted_tap {
    const char *name;
    const char *alias;
    int bridge; /* index */
    struct mac guest;
    uid_t owner;
};

static int put_ipv6_off(struct nl_msg *msg)
{
    if (access("/proc/sys/net/ipv6", F_OK) != 0) {
        return 0; /* a kernel without IPv6 refuses the attribute */
    }
    struct nlattr *families = nla_nest_start(msg, IFLA_AF_SPEC);
    struct nlattr *ipv6 = families != NULL ? nla_nest_start(msg, AF_INET6) : NULL;
    if (ipv6 == NULL || nla_put_u8(msg, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE) != 0) {
        return -1;
    }
    (void)nla_nest_end(msg, ipv6);
    (void)nla_nest_end(msg, families);
    return 0;
}

/* A link that is up is a port as soon as it has a bridge, and not isolated yet: guests could reach each other for that moment. */
static int take_down(struct rtnl *r, const struct wanted_tap *wanted)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_change = IFF_UP};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put_string(msg, IFLA_IFNAME, wanted->name) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

static int join_bridge(struct rtnl *r, const struct wanted_tap *wanted)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_NOARP, .ifi_change = IFF_NOARP};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put_string(msg, IFLA_IFNAME, wanted->name) != 0 || nla_put(msg, IFLA_IFALIAS, (int)strlen(wanted->alias), wanted->alias) != 0 ||
        put_ipv6_off(msg) != 0 || nla_put_u32(msg, IFLA_MASTER, (uint32_t)wanted->bridge) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

/* The kernel sets what is asked of the port first, and gets the link up only when all of that went well. */
static int isolate_and_up(struct rtnl *r, const struct wanted_tap *wanted)
{
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWLINK, 0, &head, sizeof head);
    if (msg == NULL || nla_put_string(msg, IFLA_IFNAME, wanted->name) != 0) {
        return ENOMEM;
    }
    struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
    if (info == NULL || nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge") != 0) {
        return ENOMEM;
    }
    struct nlattr *data = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
    if (data == NULL || nla_put_u16(msg, IFLA_BRPORT_GROUP_FWD_MASK, GROUP_FORWARD_ALL) != 0) {
        return ENOMEM;
    }
    for (size_t i = 0; i < ARRAY_LEN(link_port_flags); i++) {
        if (nla_put_u8(msg, link_port_flags[i].attribute, link_port_flags[i].wanted) != 0) {
            return ENOMEM;
        }
    }
    (void)nla_nest_end(msg, data);
    (void)nla_nest_end(msg, info);
    return rtnl_talk(r, msg, NULL, NULL);
}

static int set_guest_mac(struct rtnl *r, int index, const struct wanted_tap *wanted)
{
    struct ndmsg head = {.ndm_family = AF_BRIDGE, .ndm_ifindex = index, .ndm_state = NUD_NOARP, .ndm_flags = NTF_MASTER | NTF_STICKY};
    AUTO_MSG *msg = rtnl_msg(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof head);
    if (msg == NULL || nla_put(msg, NDA_LLADDR, sizeof wanted->guest.bytes, wanted->guest.bytes) != 0) {
        return ENOMEM;
    }
    return rtnl_talk(r, msg, NULL, NULL);
}

static bool is_configured(const struct link_detail *link, const struct wanted_tap *wanted)
{
    return link->info.up && link->info.master == wanted->bridge && link->info.isolated && !link->arp && link->port.wrong == 0 &&
           link->port.group_forward == GROUP_FORWARD_ALL;
}

/* `link` is what is there already, or NULL for a new one. */
static int configure(struct rtnl *r, const struct link_detail *link, const struct wanted_tap *wanted, struct error *err)
{
    int result = 0;
    if (link == NULL || !is_configured(link, wanted)) {
        const bool comes_back = link != NULL && link->info.up && link->info.master != wanted->bridge;
        result = comes_back ? take_down(r, wanted) : 0;
        result = result == 0 ? join_bridge(r, wanted) : result;
        if (result != 0) {
            return rtnl_fail(r, ERR_TAP_CREATE_FAILED, result, err, "cannot put TAP %s into its bridge", wanted->name);
        }
        result = isolate_and_up(r, wanted);
        if (result != 0) {
            return rtnl_fail(r, ERR_TAP_CREATE_FAILED, result, err, "cannot isolate TAP %s", wanted->name);
        }
    }
    int index = link != NULL ? link->info.index : (int)if_nametoindex(wanted->name);
    result = set_guest_mac(r, index, wanted);
    if (result != 0) {
        return rtnl_fail(r, ERR_TAP_CREATE_FAILED, result, err, "cannot bind the guest's MAC to TAP %s", wanted->name);
    }
    return 0;
}

/* Attaches to the TAP, made anew with IFF_TUN_EXCL in `flags`. Returns an errno. */
static int attach(const char *name, int flags, int *ret)
{
    struct ifreq request = {.ifr_flags = (short)flags};
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    memcpy(request.ifr_name, name, strnlen(name, sizeof request.ifr_name - 1));
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        return errno;
    }
    *ret = TAKE_FD(fd);
    return 0;
}

/* A TAP without an owner may be used by everyone who can open /dev/net/tun, so root owns those that have no
 * other. */
static uid_t owner_of(const struct wanted_tap *wanted)
{
    return wanted->owner == (uid_t)-1 ? 0 : wanted->owner;
}

/* *ret_exists: there is a link of this name already, and nothing was done. */
static int create(struct rtnl *r, const struct wanted_tap *wanted, bool *ret_exists, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    int result = attach(wanted->name, TAP_FLAGS | IFF_TUN_EXCL, &fd);
    *ret_exists = result == EBUSY;
    if (*ret_exists) {
        return 0;
    }
    if (result == 0 && ioctl(fd, TUNSETOWNER, (unsigned long)owner_of(wanted)) != 0) {
        result = errno;
    }
    if (result != 0) {
        return error_sys(err, ERR_TAP_CREATE_FAILED, result, "cannot make TAP %s", wanted->name);
    }
    if (configure(r, NULL, wanted, err) != 0) {
        return -1;
    }
    if (ioctl(fd, TUNSETPERSIST, 1UL) != 0) {
        return error_sys(err, ERR_TAP_CREATE_FAILED, errno, "cannot make TAP %s persistent", wanted->name);
    }
    return 0;
}

static int set_owner(const struct wanted_tap *wanted, struct error *err)
{
    AUTO_CLOSE int fd = -1;
    int result = attach(wanted->name, TAP_FLAGS, &fd);
    if (result == 0 && ioctl(fd, TUNSETOWNER, (unsigned long)owner_of(wanted)) != 0) {
        result = errno;
    }
    return result == 0 ? 0 : error_sys(err, ERR_TAP_CREATE_FAILED, result, "cannot change the owner of TAP %s", wanted->name);
}

/* While our descriptor of the TAP is open, no child may copy it: see host/process/spawn_lock.h. */
static int create_unshared(struct rtnl *r, const struct wanted_tap *wanted, bool *ret_exists, struct error *err)
{
    spawn_lock_exclusive();
    int result = create(r, wanted, ret_exists, err);
    spawn_unlock();
    return result;
}

static int set_owner_unshared(const struct wanted_tap *wanted, struct error *err)
{
    spawn_lock_exclusive();
    int result = set_owner(wanted, err);
    spawn_unlock();
    return result;
}

static int repair(struct rtnl *r, const struct link_detail *link, const struct wanted_tap *wanted, struct error *err)
{
    if (strcmp(link->info.alias, wanted->alias) != 0 || !link->info.is_tap) {
        return error_set(err, ERR_TAP_CREATE_FAILED, "cannot make TAP %s: a link of this name exists that was not made for it (alias '%s', not '%s')",
                         wanted->name, link->info.alias, wanted->alias);
    }
    if ((!link->tun.has_owner || link->tun.owner != owner_of(wanted)) && set_owner_unshared(wanted, err) != 0) {
        return -1;
    }
    return configure(r, link, wanted, err);
}

/*
 * Looks the TAP up. One of ours that is not persistent belongs to a process that is just making it or was
 * killed while doing so: a moment later it is persistent or gone.
 */
static int look_up(struct rtnl *r, const struct wanted_tap *wanted, struct link_detail *ret)
{
    const struct timespec pause = {.tv_nsec = PERSIST_WAIT_MS * 1000000L};
    int result = link_detail_get(r, LINK_BY_NAME, wanted->name, ret);
    for (int i = 0; i < PERSIST_TRIES; i++) {
        if (result != 0 || !ret->info.is_tap || ret->tun.persistent || strcmp(ret->info.alias, wanted->alias) != 0) {
            return result;
        }
        (void)nanosleep(&pause, NULL);
        result = link_detail_get(r, LINK_BY_NAME, wanted->name, ret);
    }
    return result == 0 ? EBUSY : result;
}

int link_tap_ensure(const char *name, const char *alias, const char *bridge, struct mac guest, uid_t owner, struct error *err)
{
    struct wanted_tap wanted = {.name = name, .alias = alias, .guest = guest, .owner = owner};
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail master;
    struct link_detail link;
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, bridge, &master);
    if (result == 0 && !master.info.is_bridge) {
        result = ENOTSUP;
    }
    if (result != 0) {
        return rtnl_fail(&r, ERR_TAP_CREATE_FAILED, result, err, "cannot put TAP %s into bridge %s", name, bridge);
    }
    wanted.bridge = master.info.index;
    /* Made first and looked up only if that fails: most are new. Should it go between the two, it is made after all. */
    for (int tries = 0; tries < ENSURE_TRIES; tries++) {
        bool exists = false;
        if (create_unshared(&r, &wanted, &exists, err) != 0) {
            return -1;
        }
        if (!exists) {
            return 0;
        }
        result = look_up(&r, &wanted, &link);
        if (result == 0) {
            return repair(&r, &link, &wanted, err);
        }
        if (result != ENODEV) {
            break;
        }
    }
    return rtnl_fail(&r, ERR_TAP_CREATE_FAILED, result, err, "cannot look up TAP %s", name);
}

struct found_entry {
    int port;
    bool is_static;
};

static void found_entry(const struct nlmsghdr *h, void *ctx)
{
    struct found_entry *found = ctx;
    const struct ndmsg *head = nlmsg_data(h);
    if (h->nlmsg_type == RTM_NEWNEIGH && nlmsg_datalen(h) >= (int)sizeof *head) {
        found->port = head->ndm_ifindex;
        found->is_static = (head->ndm_state & (NUD_NOARP | NUD_PERMANENT)) != 0;
    }
}

/* Does the bridge's table lead to the guest by its own port? Kernels that do not answer (before 5.0) count as yes. */
static bool has_guest_mac(struct rtnl *r, int index, struct mac guest)
{
    struct ndmsg head = {.ndm_family = AF_BRIDGE, .ndm_ifindex = index, .ndm_flags = NTF_MASTER};
    struct found_entry found = {.port = 0};
    AUTO_MSG *msg = rtnl_msg(RTM_GETNEIGH, 0, &head, sizeof head);
    if (msg == NULL || nla_put(msg, NDA_LLADDR, sizeof guest.bytes, guest.bytes) != 0) {
        return true;
    }
    int result = rtnl_talk(r, msg, found_entry, &found);
    return result == 0 ? found.port == index && found.is_static : result != ENOENT;
}

static void note_port(const struct link_detail *link, struct link_check *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(link_port_flags); i++) {
        if ((link->port.wrong & 1U << i) != 0) {
            link_note(ret, "%s", link_port_flags[i].words);
        }
    }
    if (link->port.group_forward != GROUP_FORWARD_ALL) {
        link_note(ret, "link-local groups are not bridged from it");
    }
}

static void note_tap(struct rtnl *r, const struct link_detail *link, const struct link_detail *bridge, const char *bridge_name, struct mac guest,
                     struct link_check *ret)
{
    if (!link->info.up) {
        link_note(ret, "it is down");
    }
    if (link->arp) {
        link_note(ret, "it answers ARP");
    }
    if (!link->tun.has_owner) {
        link_note(ret, "anyone may attach to it");
    }
    if (bridge->info.index == 0) {
        return; /* while the bridge is gone there is nothing to be put into */
    }
    if (link->info.master != bridge->info.index) {
        link_note(ret, "it is not a port of bridge %s", bridge_name);
        return;
    }
    note_port(link, ret);
    if (!has_guest_mac(r, link->info.index, guest)) {
        link_note(ret, "the bridge does not know its guest's MAC");
    }
}

int link_tap_check(const char *name, const char *alias, const char *bridge, struct mac guest, int known, struct link_check *ret, struct error *err)
{
    AUTO_RTNL r = RTNL_INIT;
    struct link_detail master = {.group = 0};
    struct link_detail link;
    *ret = (struct link_check){.present = false};
    if (rtnl_open(&r, err) != 0) {
        return -1;
    }
    int result = link_detail_get(&r, LINK_BY_NAME, name, &link);
    if (result == ENODEV) {
        link_note(ret, "it is gone");
        return 0;
    }
    if (result == 0) {
        result = link_detail_get(&r, LINK_BY_NAME, bridge, &master);
        result = result == ENODEV ? 0 : result;
    }
    if (result != 0) {
        return rtnl_fail(&r, ERR_SYSTEM, result, err, "cannot look up TAP %s", name);
    }
    link_check_identity(&link, alias, link.info.is_tap, known, ret);
    if (ret->ours) {
        note_tap(&r, &link, &master, bridge, guest, ret);
    }
    return 0;
}
