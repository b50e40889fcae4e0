/*
 * The daemon's configuration, read once at start by server/config.c and never changed afterwards.
 * Every key, its default and its limits stand in openapi.yaml under components/x-schemas/Config.
 */
#ifndef SMARTVM_CORE_CONFIG_H
#define SMARTVM_CORE_CONFIG_H

#include "core/ip_net.h"
#include "core/log.h"
#include "core/net_addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_listen {
    bool is_tcp;
    char *path;       /* of the unix socket; NULL for TCP */
    uint32_t address; /* IPv4, host byte order; always loopback */
    uint16_t port;
};

struct config_port {
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t port;    /* 1 to 65535, host byte order */
};

/* Must it be so? */
enum config_requirement {
    CONFIG_WHERE_POSSIBLE, /* on a host that could do it when the daemon started; nothing else is said */
    CONFIG_REQUIRED,
    CONFIG_NOT_REQUIRED
};

struct config {
    char *state_dir; /* database and images; absolute */
    char *run_dir;   /* sockets and runtime directories of VMs; absolute, gone after a reboot */
    char *user;      /* of the API process */
    struct config_listen *listen;
    size_t listen_count;
    struct {
        char *bridge;
        struct ipv4_net subnet;
        struct ip_net ipv6_subnet; /* IP_NONE: guests have no IPv6 */
        char *uplink;              /* NULL: all to which the host's routes lead guests, followed when they change */
        bool masquerade;
        unsigned lease_quarantine_s;        /* seconds until a freed address is handed out again */
        unsigned sweep_s;                   /* seconds between two looks at everything, if the kernel tells of nothing */
        unsigned max_flows_per_vm;          /* tracked at once, of each VM: host/nft/flow_limits.h */
        struct ip_net *allow_host_networks; /* that guests reach although the host is connected to them */
        size_t allow_host_network_count;
        struct config_port *open_host_ports; /* that guests reach at the gateway's address */
        size_t open_host_port_count;
        struct {
            struct ip_addr address;             /* where ports are published, and nowhere else; IP_NONE: wherever a client wants */
            uint16_t first, last;               /* that may be published */
            uint16_t chosen_first, chosen_last; /* of them, those that the daemon chooses from */
        } published;
        unsigned wireguard_lookup_s; /* between two look-ups of endpoints' names; so long without a handshake, a peer is silent */
        char *wireguard_go;          /* where the kernel has no WireGuard: absolute path, or a name to look up in PATH */
    } network;
    struct {
        char **allowed_roots; /* absolute directories; host paths in requests must lie below one */
        size_t allowed_root_count;
        uint64_t max_file_bytes;
    } images;
    struct {
        char *firecracker; /* absolute path, or a name to look up in PATH */
        char *jailer;      /* Firecracker's, likewise */
        char *qemu;
        uint32_t uid_first, uid_count; /* that VMMs run under */
        enum config_requirement require_jail, require_limits;
        bool allow_known_faults;  /* of programs: host/vmm/known_faults.h */
        unsigned start_timeout_s; /* until a VMM answers after it was spawned */
        unsigned stop_timeout_s;  /* of a graceful stop, then it is forced */
        unsigned api_timeout_s;   /* of one call to a VMM */
        unsigned workers;         /* VMs that are worked on at the same time */
        char *stage_dir;          /* parent of staged writable drives; "" = /dev/shm when it is a tmpfs, else run_dir */
        uint64_t console_bytes;   /* kept of each console */
    } vmm;
    struct {
        unsigned max_connections;          /* of all listeners together; each has an equal share */
        unsigned max_connections_per_peer; /* a uid behind a unix socket, or an address behind TCP */
        unsigned head_timeout_s;           /* for the whole head of a request, from the beginning of the connection or the end of the last reply */
        unsigned body_timeout_s;           /* for its whole body */
    } http;
    struct {
        int64_t memory_mib; /* for all VMs together; 0: what the host has, but for what it keeps for itself (core/capacity.h) */
        double vcpu_factor; /* so many vCPUs for each CPU of the host */
    } capacity;
    struct {
        enum log_level level;
    } log;
};

/*
 * The word that marks everything this daemon makes on the host, so that daemons with different bridges can live side
 * by side: "smartvm" on the default bridge svbr0, else "smartvm_<bridge>". It names the nftables tables and the
 * cgroup, and begins the aliases of links ("<mark>:<vm id>").
 */
enum { CONFIG_MARK_MAX = 8 + INTERFACE_NAME_MAX };
void config_mark(const struct config *config, char *buf); /* buf[CONFIG_MARK_MAX] */

void config_free(struct config *config); /* harmless on NULL */

#endif
