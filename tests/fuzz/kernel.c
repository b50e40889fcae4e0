/*
 * What the kernel answers by netlink to whoever looks: the firewall's tables, tracked flows, listeners, links, routes, rules, filters and its WireGuard. Each
 * look is run as it is, and instead of the kernel's its answers are the input's: one byte for the look, then datagrams, each behind its length (two
 * bytes, little-endian). Behind the last one, receiving fails. Left out are nft_base_check() and forward_block_find(): libnftnl parses for them, and
 * ends the process when an attribute has not the length that it should have.
 *
 * The first inputs of the corpus are recorded: SMARTVM_FUZZ_RECORD=DIR asks the kernel and writes what it says, one file a look, in the network
 * namespace that it is started in (of a daemon with the bridge `fuzz0`, an IPv6 subnet, VMs with policies, address sets and ports, say).
 */
#include "core/cleanup.h"
#include "host/gate/gate.h"
#include "host/link/bridge_ipv6.h"
#include "host/link/route.h"
#include "host/link/uplinks.h"
#include "host/nft/conntrack.h"
#include "host/nft/drops.h"
#include "host/nft/listening.h"
#include "host/nft/nft.h"
#include "host/tunnel/tunnel.h"
#include "host/tunnel/wireguard_backends.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);
ssize_t __wrap_sendto(int fd, const void *buf, size_t size, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __real_recv(int fd, void *buf, size_t size, int flags);
ssize_t __real_sendto(int fd, const void *buf, size_t size, int flags, const struct sockaddr *to, socklen_t to_len);
ssize_t __real_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size);
ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);

enum { HEAD = 2, UID = 1 };

static struct {
    const uint8_t *data; /* what is left of the input */
    size_t size;
    uint32_t seq;    /* of the request */
    uint8_t *behind; /* the part of the receiver's buffer that the datagram does not fill: whoever reads there is caught */
    size_t behind_size;
    FILE *record; /* or NULL */
} answers;

static const char mark[] = "smartvm_fuzz0";
static const char bridge[] = "fuzz0";
static const struct nft_guest guest = {.tap = "fuzz0t2", .mac = {{0x02, 0, 0, 0, 0, 2}}, .address = 0x0afa0002, .address6 = {0xfd, [15] = 2}};
static const struct ip_addr address6 = {.version = IP_V6, .bytes = {0xfd, [15] = 1}};

/* Requests are counted by who sends them, and an answer with another number is no answer: so it gets the right one. */
static void number_messages(uint8_t *datagram, size_t size)
{
    struct nlmsghdr head;
    while (size >= sizeof head) {
        memcpy(&head, datagram, sizeof head);
        head.nlmsg_seq = answers.seq;
        memcpy(datagram, &head, sizeof head);
        size_t step = NLMSG_ALIGN((size_t)head.nlmsg_len);
        if (step < sizeof head || step > size) {
            return;
        }
        datagram += step;
        size -= step;
    }
}

static void let_go(void)
{
    ASAN_UNPOISON_MEMORY_REGION(answers.behind, answers.behind_size);
    answers.behind = NULL;
    answers.behind_size = 0;
}

static ssize_t receive(void *buf, size_t size)
{
    let_go();
    if (answers.size < HEAD) {
        errno = EIO;
        return -1;
    }
    size_t len = answers.data[0] | (size_t)answers.data[1] << 8;
    len = len < answers.size - HEAD ? len : answers.size - HEAD;
    len = len < size ? len : size;
    memcpy(buf, answers.data + HEAD, len);
    answers.data += HEAD + len;
    answers.size -= HEAD + len;
    number_messages(buf, len);
    answers.behind = (uint8_t *)buf + len;
    answers.behind_size = size - len;
    ASAN_POISON_MEMORY_REGION(answers.behind, answers.behind_size);
    return (ssize_t)len;
}

static ssize_t send_nothing(const void *buf, size_t size)
{
    const struct nlmsghdr *head = buf;
    let_go();
    answers.seq = head->nlmsg_seq;
    return (ssize_t)size;
}

static ssize_t noted(const void *buf, ssize_t len)
{
    if (len >= 0) {
        (void)fputc((int)(len & 0xff), answers.record);
        (void)fputc((int)(len >> 8), answers.record);
        (void)fwrite(buf, 1, (size_t)len, answers.record);
    }
    return len;
}

ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags)
{
    return answers.record == NULL ? receive(buf, size) : noted(buf, __real_recv(fd, buf, size, flags));
}

ssize_t __wrap_sendto(int fd, const void *buf, size_t size, int flags, const struct sockaddr *to, socklen_t to_len)
{
    return answers.record == NULL ? send_nothing(buf, size) : __real_sendto(fd, buf, size, flags, to, to_len);
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t size)
{
    return answers.record == NULL ? send_nothing(buf, size) : __real_mnl_socket_sendto(nl, buf, size);
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
    return answers.record == NULL ? receive(buf, size) : noted(buf, __real_mnl_socket_recvfrom(nl, buf, size));
}

/* The libraries read as many bytes as they are asked for, whether the attribute has them or not. */
#define CHECKED(type, name, len_of) \
    type __real_##name(const struct nlattr *attr); \
    type __wrap_##name(const struct nlattr *attr); \
    type __wrap_##name(const struct nlattr *attr) \
    { \
        if ((size_t)len_of(attr) < sizeof(type)) { \
            abort(); \
        } \
        return __real_##name(attr); \
    }
CHECKED(uint8_t, mnl_attr_get_u8, mnl_attr_get_payload_len)
CHECKED(uint16_t, mnl_attr_get_u16, mnl_attr_get_payload_len)
CHECKED(uint32_t, mnl_attr_get_u32, mnl_attr_get_payload_len)
CHECKED(uint64_t, mnl_attr_get_u64, mnl_attr_get_payload_len)
CHECKED(uint8_t, nla_get_u8, nla_len)
CHECKED(uint16_t, nla_get_u16, nla_len)
CHECKED(uint32_t, nla_get_u32, nla_len)
CHECKED(uint64_t, nla_get_u64, nla_len)

static void compare_guests(void)
{
    struct nft_guest_differences differences = {.items = NULL};
    (void)nft_guests_compare(mark, &guest, 1, &differences, NULL);
    nft_guest_differences_free(&differences);
}

static void check_closed(void)
{
    const struct ip_range closed = {.first = address6, .last = address6};
    bool same = false;
    (void)nft_closed_check(mark, &closed, 1, &same, NULL);
}

static void list_uplinks(void)
{
    char(*names)[INTERFACE_NAME_MAX] = NULL;
    size_t count = 0;
    (void)nft_uplinks_list(mark, &names, &count, NULL);
    free(names);
}

static void get_drops(void)
{
    struct nft_drops drops;
    (void)nft_drops_get(mark, &guest, &drops, NULL);
}

static void list_ports(void)
{
    struct nft_port *ports = NULL;
    size_t count = 0;
    (void)nft_ports_list(mark, &ports, &count, NULL);
    free(ports);
}

static void look_at_policies(void)
{
    struct nft_policies_seen seen = {.tables = false};
    (void)nft_policies_look(mark, &seen, NULL);
    nft_policies_seen_free(&seen);
}

static void get_counters(void)
{
    struct nft_counter *rules = NULL;
    struct nft_counter by_default;
    size_t count = 0;
    bool there = false;
    (void)nft_policy_counters(mark, UID, POLICY_EGRESS, &rules, &count, &by_default, &there, NULL);
    free(rules);
}

static void find_vm_chain(void)
{
    bool there = false;
    (void)nft_policy_vm_is_there(mark, UID, &there, NULL);
}

/* None while it is recorded. */
static bool every_other(const struct conntrack_flow *flow, void *ctx)
{
    (void)ctx;
    return answers.record == NULL && (flow->port & 1) == 0;
}

static void cut_flows(void)
{
    size_t cut = 0;
    (void)conntrack_cut(every_other, NULL, &cut, NULL);
}

static void note_listener(const struct listener *listener, void *ctx)
{
    *(unsigned *)ctx += listener->port + listener->both + listener->host.version + listener->host.bytes[15];
}

static void find_listeners(void)
{
    unsigned sum = 0;
    (void)listener_each(IPPROTO_TCP, note_listener, &sum, NULL);
}

static void list_links(void)
{
    struct link_info *links = NULL;
    size_t count = 0;
    (void)link_list(&links, &count, NULL);
    free(links);
}

static void check_bridge(void)
{
    struct link_check check;
    (void)link_bridge_check(bridge, "smartvm_fuzz0:bridge", guest.mac, 0x0afa0001, 24, 0, &check, NULL);
}

static void check_tap(void)
{
    struct link_check check;
    (void)link_tap_check(guest.tap, "smartvm_fuzz0:vm", bridge, guest.mac, 0, &check, NULL);
}

static void check_tunnel(void)
{
    const struct tunnel_wanted wanted = {.name = "svwg0", .alias = "smartvm_fuzz0:wireguard", .mtu = 1420};
    struct link_check check;
    (void)tunnel_check(&wanted, 0, &check, NULL);
}

static void find_uplinks(void)
{
    const struct ip_net subnet6 = {.address = {.version = IP_V6, .bytes = {0xfd}}, .prefix = 64};
    const struct uplinks_question question = {.bridge = bridge, .subnet = {0x0afa0000, 24}, .gateway = 0x0afa0001, .subnet6 = &subnet6};
    struct uplinks found;
    char words[UPLINKS_TEXT_MAX];
    if (uplinks_find(&question, &found, NULL) == 0) {
        (void)uplinks_check_answers(&question, &found, words, NULL);
    }
}

static void find_overlap(void)
{
    bool found = false;
    char text[64];
    (void)link_route_overlap((struct ipv4_net){0x0afa0000, 24}, bridge, &found, text, NULL);
}

static void list_networks(void)
{
    const char *const except[] = {bridge};
    struct ip_net *nets = NULL;
    size_t count = 0;
    const struct interface_names uplinks = {.items = {"lo"}, .count = 1};
    (void)link_networks_list(except, 1, &uplinks, &nets, &count, NULL);
    free(nets);
}

static void list_routes(void)
{
    struct route_listed *routes = NULL;
    size_t count = 0;
    (void)route_list(51820, &routes, &count, NULL);
    free(routes);
}

static void list_rules(void)
{
    struct route_rule rules[ROUTE_RULES_MAX];
    size_t count = 0;
    (void)route_rules_list(bridge, rules, &count, NULL);
}

static void check_gate(void)
{
    const struct gate gate = {.bridge = bridge, .subnet = {0x0afa0000, 24}, .ipv6 = true};
    struct gate_seen seen;
    (void)gate_check(&gate, &seen, NULL);
}

static void check_bridge_ipv6(void)
{
    char found[BRIDGE_IPV6_FOUND_MAX];
    (void)bridge_ipv6_check(bridge, &address6, 64, found, NULL);
}

static void get_wireguard(void)
{
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    (void)wireguard_kernel_get("svwg0", &device, NULL);
}

static const struct {
    const char *name;
    void (*look)(void);
} looks[] = {
    {"guests-compared", compare_guests},
    {"closed", check_closed},
    {"uplinks", list_uplinks},
    {"drops", get_drops},
    {"ports", list_ports},
    {"policies", look_at_policies},
    {"counters", get_counters},
    {"vm-chain", find_vm_chain},
    {"flows", cut_flows},
    {"listeners", find_listeners},
    {"links", list_links},
    {"bridge", check_bridge},
    {"tap", check_tap},
    {"tunnel", check_tunnel},
    {"ways-out", find_uplinks},
    {"overlap", find_overlap},
    {"networks", list_networks},
    {"routes", list_routes},
    {"rules", list_rules},
    {"gate", check_gate},
    {"bridge-ipv6", check_bridge_ipv6},
    {"wireguard", get_wireguard},
};

static void record(const char *dir)
{
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/%s", dir, looks[i].name);
        answers.record = fopen(path, "we");
        if (answers.record == NULL) {
            abort();
        }
        (void)fputc((int)i, answers.record);
        looks[i].look();
        (void)fclose(answers.record);
    }
    answers.record = NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *dir = getenv("SMARTVM_FUZZ_RECORD");
    (void)argc;
    (void)argv;
    if (dir != NULL) {
        record(dir);
        exit(0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] >= ARRAY_LEN(looks)) {
        return -1; /* not for the corpus */
    }
    answers.data = data + 1;
    answers.size = size - 1;
    looks[data[0]].look();
    let_go();
    return 0;
}
