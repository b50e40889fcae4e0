/* A set of ports of TCP and of UDP: a bit each. Pure functions, any thread. */
#ifndef SMARTVM_CORE_PORT_SET_H
#define SMARTVM_CORE_PORT_SET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct port_set {
    uint8_t bits[2][(UINT16_MAX + 1) / 8];
};

static inline void port_set_add(struct port_set *set, uint8_t protocol, uint16_t port)
{
    set->bits[protocol == IPPROTO_UDP][port / 8] |= (uint8_t)(1U << port % 8);
}

static inline bool port_set_has(const struct port_set *set, uint8_t protocol, unsigned port)
{
    return port <= UINT16_MAX && (set->bits[protocol == IPPROTO_UDP][port / 8] & 1U << port % 8) != 0;
}

#endif
