/*
 * The host's own resolvers, as far as guests can use them too: what a guest is told by the kernel argument ip=. resolv.conf(5).
 */
#ifndef SMARTVM_HOST_LINK_RESOLVER_H
#define SMARTVM_HOST_LINK_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

enum { RESOLVERS_MAX = 2 }; /* ip= has room for two */

/*
 * IPv4 addresses, in host byte order, of the `nameserver` lines of the first of these files that has any which is not of the host alone (loopback): a stub on
 * 127.0.0.53 reads the second file itself. Files that are not there are none. Returns how many there are.
 */
size_t resolvers_read(const char *const *paths, size_t path_count, uint32_t ret[RESOLVERS_MAX]);

/* Those of this host: /etc/resolv.conf, /run/systemd/resolve/resolv.conf. */
size_t resolvers_of_host(uint32_t ret[RESOLVERS_MAX]);

#endif
