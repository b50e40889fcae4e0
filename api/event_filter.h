/*
 * Inside api/ only: which events a client of /events wants. Of each parameter any one is enough, and all parameters that are given must agree.
 *
 *   type      "vm.state", or a prefix up to a dot with all that is behind it: "vm.*"; "*" is everything
 *   resource  "vm/web" or "/vms/web", "image/x" or "/images/x", "network", "firewall"; with "*" at the end for all that begin so: "vm/web-*"
 */
#ifndef SMARTVM_API_EVENT_FILTER_H
#define SMARTVM_API_EVENT_FILTER_H

#include "api/call.h"
#include "db/events.h"

enum { EVENT_FILTERS_MAX = 16 };

struct event_filter {
    char *types[EVENT_FILTERS_MAX]; /* owned, as are the others; a "*" at the end is a wildcard */
    size_t type_count;
    char *resources[EVENT_FILTERS_MAX]; /* as events have them: "/vms/web" */
    size_t resource_count;
};

/* From the parameters `type` and `resource`; what is none is a fault of the call. */
void event_filter_read(struct call *call, struct event_filter *ret);
bool event_filter_matches(const struct event_filter *filter, const struct event_row *event);
void event_filter_free(struct event_filter *filter); /* harmless on zeroes */

#endif
