/*
 * What one VM may have of the host's table of tracked flows (nf_conntrack(5), nf_conntrack_max), so that none fills it for all. Three parts of it, each at most a
 * quarter: the flows that it has at once; as many that it may begin at once; and what comes of its steady rate of new ones, of which those of TCP that have ended
 * stay in the table for up to FLOW_ENDED_S (nf_conntrack_tcp_timeout_time_wait) without being counted as flows.
 */
#ifndef SMARTVM_HOST_NFT_FLOW_LIMITS_H
#define SMARTVM_HOST_NFT_FLOW_LIMITS_H

#include "core/error.h"

#include <stdint.h>

enum { FLOW_ENDED_S = 120 };

struct flow_limits {
    uint32_t max;  /* at once, and begun at once */
    uint32_t rate; /* new ones a second, after that */
};

/* `configured`: network.max_flows_per_vm. `table`: how many the table takes; 0 when that is not known. Pure. */
struct flow_limits flow_limits_of(uint32_t configured, uint32_t table);

/* How many flows the table takes: that of the kernel, for each network namespace. Loads the tracking where it is a module that is not loaded yet. 0: not known. */
uint32_t flow_table_size(void);

#endif
