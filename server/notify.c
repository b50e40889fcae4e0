#include "server/notify.h"

#include "core/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int make_address(const char *name, struct sockaddr_un *address, socklen_t *ret_len, struct error *err)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof address->sun_path) {
        return error_set(err, ERR_SYSTEM, "NOTIFY_SOCKET '%.128s' is neither a path nor an abstract name", name);
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, len);
    /* The name of an abstract socket is exactly as long as the address says; a path takes its terminator
     * along. */
    size_t name_len = len + 1;
    if (name[0] == '@') {
        address->sun_path[0] = '\0';
        name_len = len;
    }
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_len);
    return 0;
}

int notify_send(const char *state, struct error *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || *name == '\0') {
        return 0;
    }
    struct sockaddr_un address;
    socklen_t len = 0;
    if (make_address(name, &address, &len, err) < 0) {
        return -1;
    }
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket for the service manager");
    }
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot notify the service manager at '%s'", name);
    }
    return 0;
}
