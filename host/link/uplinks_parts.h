/* Between the host/uplinks*.c files. */
#ifndef SMARTVM_HOST_LINK_UPLINKS_PARTS_H
#define SMARTVM_HOST_LINK_UPLINKS_PARTS_H

#include "host/link/rtnl.h"
#include "host/link/uplinks.h"

/* One look-up. */
struct route_question {
    unsigned char family;
    int input;                          /* index of the link by which the packet comes; 0: the host itself sends it */
    struct ip_addr source, destination; /* IP_NONE: no source */
    uint8_t service, protocol;          /* type of service, IPPROTO_…; 0: any (the kernel takes it for UDP) */
    uint16_t source_port, port;
};

enum { ROUTE_HOPS_MAX = 64 };

struct route_answer {
    int refused; /* 0, or the errno that a packet would meet */
    unsigned prefix;
    int links[ROUTE_HOPS_MAX]; /* that are not dead */
    size_t count;
};

/* 0, or an errno: then nothing is known. */
int route_ask(struct rtnl *r, const struct route_question *question, struct route_answer *ret);

/* Packets that rules of the host tell apart; the first is an ordinary one. */
enum { FLOW_CLASSES_MAX = 32, PARTS_MAX = 128, BESIDES_MAX = 32 };

struct uplinks_map {
    const struct uplinks_question *asked;
    unsigned char family;
    bool starts[PARTS_MAX + 1]; /* a block of two first bytes begins a part: 128 of them */
    struct route_question classes[FLOW_CLASSES_MAX];
    size_t class_count;
    bool by_protocol; /* a rule tells protocols apart: what is of any has to be asked for each */
    size_t unasked;   /* rules of protocols that can't be asked for */
    struct {
        struct ip_net net;
        int link;
    } besides[BESIDES_MAX]; /* routes of public networks by a gateway, one of each link */
    size_t beside_count;
    size_t left_out;
};

/* Reads rules and routes of one IP version. 0 or an errno. */
int uplinks_map_read(struct rtnl *r, const struct uplinks_question *question, unsigned char family, int bridge, struct uplinks_map *ret);

#endif
