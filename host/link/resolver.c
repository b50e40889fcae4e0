#include "host/link/resolver.h"

#include "core/cleanup.h"
#include "core/ip_net.h"
#include "core/net_addr.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 512 };

/* Not the host's alone, and no address that nobody has. */
static bool is_of_use(uint32_t address)
{
    static const struct ipv4_net wrong[] = {{0x7f000000, 8}, {0x00000000, 8}, {0xa9fe0000, 16}, {0xe0000000, 3}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (ipv4_net_contains(wrong[i], address)) {
            return false;
        }
    }
    return true;
}

static bool read_line(const char *line, uint32_t *ret)
{
    char text[IP_TEXT_MAX];
    struct ip_addr address;
    if (sscanf(line, " nameserver %45s", text) != 1 || !ip_addr_parse(text, &address) || address.version != IP_V4) {
        return false;
    }
    const uint8_t *b = address.bytes;
    *ret = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return is_of_use(*ret);
}

static size_t read_file(const char *path, uint32_t ret[RESOLVERS_MAX])
{
    char line[LINE_BYTES];
    size_t count = 0;
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    while (file != NULL && count < RESOLVERS_MAX && fgets(line, sizeof line, file) != NULL) {
        count += read_line(line, &ret[count]);
    }
    return count;
}

size_t resolvers_read(const char *const *paths, size_t path_count, uint32_t ret[RESOLVERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < path_count && count == 0; i++) {
        count = read_file(paths[i], ret);
    }
    return count;
}

size_t resolvers_of_host(uint32_t ret[RESOLVERS_MAX])
{
    static const char *const paths[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
    return resolvers_read(paths, ARRAY_LEN(paths), ret);
}
