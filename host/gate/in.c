/*
 * The gate's program for what comes from guests: the mark, and where the kernel may be made to write.
 *
 * A guest may leave a checksum open: its virtio header names two places, one to sum from and one for the result, and whoever sends the packet on fills it
 * in, the kernel or a network card, long after the firewall has judged the packet. So the result must not come to stand in anything that is judged. Programs
 * are not told these places. But one that is trusted to may read the kernel's memory, the register that holds the packet holds the address of its
 * structure, and the kernel describes that to us (host/gate/layout.c). Nothing is changed, and nothing depends on how other functions treat such packets,
 * which changes from one kernel to the next.
 *
 * Only TCP and UDP right behind the IP header, in one piece, may have an open checksum, and the result goes to its place there or behind it, which is the
 * guest's own data (or TCP's options) that nobody judges. Linux leaves no others open on a network card of virtio: its own code fills in those of
 * fragments, of SCTP, of what is in a tunnel, and of ICMP. Headers of IPv4 have no options here, which the tables see to.
 */
#include "host/gate/code.h"

#include "core/cleanup.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

/* In the packet, which begins with its Ethernet header. */
enum {
    TYPE = offsetof(struct ethhdr, h_proto),
    FRAGMENT = ETH_HLEN + offsetof(struct iphdr, frag_off),
    PROTOCOL4 = ETH_HLEN + offsetof(struct iphdr, protocol),
    PROTOCOL6 = ETH_HLEN + offsetof(struct ip6_hdr, ip6_nxt),
    TRANSPORT4 = ETH_HLEN + sizeof(struct iphdr),
    TRANSPORT6 = ETH_HLEN + sizeof(struct ip6_hdr),
    IN_UDP = offsetof(struct udphdr, check),
    IN_TCP = offsetof(struct tcphdr, check),
    OPEN = 3,     /* CHECKSUM_PARTIAL, of two bits */
    SCRATCH = -8, /* on the stack */
};

/* Big endian, as loaded. */
#define WIRE(value) __builtin_bswap16(value)

#define PACKET      BPF_REG_6
#define RIGHT_PLACE BPF_REG_7
#define HEADERS     BPF_REG_8
#define TOLD_PLACE  BPF_REG_8 /* when the headers are not needed any more */
#define HEADERS_END BPF_REG_9 /* of what can be read directly */

/* Without it the program has nothing but the mark. */
#define LOOK_FOR_MARK \
    SET(BPF_REG_0, TC_ACT_SHOT), LOAD(BPF_REG_2, BPF_REG_1, OF_PACKET(mark)), SKIP_IF_ANY_BIT(BPF_REG_2, GATE_MARK_JUDGED, 1), END, \
        KEEP_BITS(BPF_REG_2, ~GATE_MARK_JUDGED), STORE(BPF_REG_1, OF_PACKET(mark), BPF_REG_2)

/* Some bytes of the packet's structure, onto the stack; a failure drops. Register 0 is left with "drop". */
#define READ(at, bytes) \
    COPY(BPF_REG_1, BPF_REG_10), ADD(BPF_REG_1, SCRATCH), SET(BPF_REG_2, bytes), COPY(BPF_REG_3, PACKET), ADD(BPF_REG_3, at), \
        CALL(BPF_FUNC_probe_read_kernel), COPY(BPF_REG_1, BPF_REG_0), SET(BPF_REG_0, TC_ACT_SHOT), SKIP_IF(BPF_REG_1, 0, 1), END

/* Drops what has less than `bytes` there. The headers up to the right place always are: the kernel refuses an open checksum elsewhere. */
#define NEED(bytes) COPY(BPF_REG_2, HEADERS), ADD(BPF_REG_2, bytes), SKIP_IF_NOT_ABOVE(BPF_REG_2, HEADERS_END, 1), END

#define FILL(ret, code) (memcpy(ret, code, sizeof(code)), ARRAY_LEN(code))

static size_t fill_short(struct bpf_insn ret[GATE_CODE_MAX])
{
    static const struct bpf_insn code[] = {LOOK_FOR_MARK, SET(BPF_REG_0, TC_ACT_UNSPEC), END};
    _Static_assert(ARRAY_LEN(code) <= GATE_CODE_MAX, "it fits");
    return FILL(ret, code);
}

size_t gate_code_in(const struct gate_layout *layout, struct bpf_insn ret[GATE_CODE_MAX])
{
    if (layout == NULL) {
        return fill_short(ret);
    }
    const struct bpf_insn code[] = {
        LOOK_FOR_MARK,
        COPY(PACKET, BPF_REG_1),

        /* Is its checksum open? */
        READ(layout->summed, 1),
        LOAD8(BPF_REG_1, BPF_REG_10, SCRATCH),
        KEEP_BITS(BPF_REG_1, OPEN << layout->summed_shift),
        SKIP_IF(BPF_REG_1, OPEN << layout->summed_shift, 2),
        SET(BPF_REG_0, TC_ACT_UNSPEC),
        END,

        /* Where it should go. Register 1: the protocol. */
        LOAD(HEADERS, PACKET, OF_PACKET(data)),
        LOAD(HEADERS_END, PACKET, OF_PACKET(data_end)),
        NEED(TRANSPORT4),
        LOAD16(BPF_REG_1, HEADERS, TYPE),
        SKIP_IF_NOT(BPF_REG_1, WIRE(ETH_P_IP), 7),
        LOAD16(BPF_REG_1, HEADERS, FRAGMENT),
        SKIP_IF_ANY_BIT(BPF_REG_1, WIRE(IP_MF | IP_OFFMASK), 1),
        SKIP(1),
        END,
        LOAD8(BPF_REG_1, HEADERS, PROTOCOL4),
        SET(RIGHT_PLACE, TRANSPORT4),
        SKIP(8),
        SKIP_IF(BPF_REG_1, WIRE(ETH_P_IPV6), 1),
        END,
        NEED(TRANSPORT6),
        LOAD8(BPF_REG_1, HEADERS, PROTOCOL6),
        SET(RIGHT_PLACE, TRANSPORT6),
        SKIP_IF_NOT(BPF_REG_1, IPPROTO_UDP, 2),
        ADD(RIGHT_PLACE, IN_UDP),
        SKIP(3),
        SKIP_IF(BPF_REG_1, IPPROTO_TCP, 1),
        END,
        ADD(RIGHT_PLACE, IN_TCP),

        /* Where it is told to go: two numbers of 16 bits, counted from where the Ethernet header is, too. */
        READ(layout->checksum, 2 * (int)sizeof(uint16_t)),
        LOAD16(TOLD_PLACE, BPF_REG_10, SCRATCH),
        LOAD16(BPF_REG_2, BPF_REG_10, SCRATCH + 2),
        ADD_OTHER(TOLD_PLACE, BPF_REG_2),
        READ(layout->mac_header, (int)sizeof(uint16_t)),
        LOAD16(BPF_REG_2, BPF_REG_10, SCRATCH),
        TAKE_OTHER(TOLD_PLACE, BPF_REG_2),
        SKIP_IF_LESS(TOLD_PLACE, RIGHT_PLACE, 1),
        SET(BPF_REG_0, TC_ACT_UNSPEC),
        END,
    };
    _Static_assert(ARRAY_LEN(code) <= GATE_CODE_MAX, "it fits");
    return FILL(ret, code);
}
