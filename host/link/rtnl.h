/*
 * How the link_*.c files speak rtnetlink: messages are built and read by libnl's functions, sent and received
 * here without its caches, so that a call costs what it asks for. Private to host/link*.c, host/route*.c and host/tunnel/wireguard_kernel.c. One struct rtnl
 * per call, not shared between threads.
 */
#ifndef SMARTVM_HOST_LINK_RTNL_H
#define SMARTVM_HOST_LINK_RTNL_H

#include "core/cleanup.h"
#include "host/link/link.h"

#include <netlink/msg.h>
#include <netlink/attr.h>

struct rtnl {
    int fd;
    uint32_t seq;
    bool interrupted; /* the last dump was: something changed while it went on */
    char words[160];  /* what the kernel said about the last failure (NLMSGERR_ATTR_MSG), "" when nothing */
    char *buf;
};

#define RTNL_INIT ((struct rtnl){.fd = -1})
#define AUTO_RTNL CLEANUP(rtnl_close) struct rtnl

static inline void rtnl_msg_free(struct nl_msg **msg)
{
    if (*msg != NULL) {
        nlmsg_free(*msg);
    }
}
#define AUTO_MSG CLEANUP(rtnl_msg_free) struct nl_msg

int rtnl_open(struct rtnl *r, struct error *err);
int rtnl_open_protocol(struct rtnl *r, int protocol, struct error *err); /* NETLINK_GENERIC speaks the same way */
void rtnl_close(struct rtnl *r);

/* A message with its fixed header (ifinfomsg, ifaddrmsg, rtmsg, …); NULL when out of memory. */
struct nl_msg *rtnl_msg(int type, int flags, const void *header, size_t len);

/*
 * Sends `msg` (NULL counts as out of memory) and reads until its acknowledgement, or the end of the dump.
 * `each` gets what comes before that, may be NULL, and ends the reading of no dump. Returns 0 or a positive
 * errno, with r->words set.
 */
int rtnl_talk(struct rtnl *r, struct nl_msg *msg, void (*each)(const struct nlmsghdr *h, void *ctx), void *ctx);

/* Fills *err with "<text>: <errno in words>: <the kernel's own words>" and returns -1. */
int rtnl_fail(const struct rtnl *r, enum error_code code, int errnum, struct error *err, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The number in an attribute; `otherwise` where it is not there, or too short for one. */
static inline uint8_t rtnl_u8(const struct nlattr *a, uint8_t otherwise)
{
    return a != NULL && nla_len(a) >= (int)sizeof(uint8_t) ? nla_get_u8(a) : otherwise;
}
static inline uint16_t rtnl_u16(const struct nlattr *a, uint16_t otherwise)
{
    return a != NULL && nla_len(a) >= (int)sizeof(uint16_t) ? nla_get_u16(a) : otherwise;
}
static inline uint32_t rtnl_u32(const struct nlattr *a, uint32_t otherwise)
{
    return a != NULL && nla_len(a) >= (int)sizeof(uint32_t) ? nla_get_u32(a) : otherwise;
}

/* What is known about a link beyond link_info. */
struct link_detail {
    struct link_info info;
    uint32_t group;
    struct {
        bool stp;
        uint32_t forward_delay;
        bool snooping;
    } bridge;
    struct {
        bool persistent;
        bool has_owner;
        uid_t owner;
    } tun;
    struct {
        unsigned wrong;         /* a bit for each row of link_port_flags that is not as wanted */
        uint16_t group_forward; /* link-local groups that are bridged, see link_tap.c */
    } port;
    bool arp; /* not IFF_NOARP */
};

/* What the port of a guest must be like. What the kernel does not tell counts as right. */
struct link_port_flag {
    int attribute; /* IFLA_BRPORT_… */
    uint8_t wanted;
    const char *words; /* when it is otherwise */
};
enum { LINK_PORT_FLAGS = 8 };
extern const struct link_port_flag link_port_flags[LINK_PORT_FLAGS];

/* Adds to what was found, with "; " between; what does not fit is left out. */
void link_note(struct link_check *check, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fills in everything of *ret but what is wrong with a link of ours. `right_kind`: it is a bridge, or a TAP, as wanted. */
void link_check_identity(const struct link_detail *link, const char *alias, bool right_kind, int known, struct link_check *ret);

enum { LINK_BY_NAME = 0 };
/* By index, or by name where index is LINK_BY_NAME. ENODEV when there is none. */
int link_detail_get(struct rtnl *r, int index, const char *name, struct link_detail *ret);

/* Each link, in one dump. */
int link_detail_dump(struct rtnl *r, void (*each)(const struct link_detail *link, void *ctx), void *ctx);

#endif
