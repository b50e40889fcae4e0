#include "server/listen.h"

#include "core/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The kernel cuts it down to net.core.somaxconn. */
enum { BACKLOG = 4096 };

static int group_of(const char *user, gid_t *ret, struct error *err)
{
    char buf[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    int errnum = getpwnam_r(user, &entry, buf, sizeof buf, &found);
    if (errnum != 0) {
        return error_sys(err, ERR_SYSTEM, errnum, "cannot look up the user '%s'", user);
    }
    if (found == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "user: there is no user '%s' on this host", user);
    }
    *ret = found->pw_gid;
    return 0;
}

/* Whether a process listens there. A refused connection is the sign of a socket file that was left behind. */
static int check_alive(const struct sockaddr_un *address, bool *ret_alive, long *ret_pid, struct error *err)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a unix socket");
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN) {
        struct ucred owner = {.pid = 0};
        socklen_t len = sizeof owner;
        *ret_alive = true; /* EAGAIN: someone listens, and its queue is full */
        *ret_pid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &len) == 0 ? (long)owner.pid : 0;
        return 0;
    }
    if (errno != ECONNREFUSED && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot tell whether a process listens on %s", address->sun_path);
    }
    *ret_alive = false;
    return 0;
}

static int clear_way(const struct sockaddr_un *address, struct error *err)
{
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_set(err, ERR_SYSTEM, "cannot listen on %s: a file that is not a socket is in the way", path);
    }
    bool alive = false;
    long pid = 0;
    if (check_alive(address, &alive, &pid, err) < 0) {
        return -1;
    }
    if (alive) {
        return pid > 0 ? error_set(err, ERR_CONFLICT, "listen: another process, with pid %ld, listens on %s", pid, path)
                       : error_set(err, ERR_CONFLICT, "listen: another process listens on %s", path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot remove the stale socket %s", path);
    }
    return 0;
}

/* The umask makes it 0600 at birth; the group comes before the mode, so that no other group ever has access.
 */
static int bind_unix(int fd, const struct sockaddr_un *address, gid_t group, struct error *err)
{
    const char *path = address->sun_path;
    mode_t old = umask(0177);
    int r = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int errnum = errno;
    (void)umask(old);
    if (r < 0) {
        return error_sys(err, ERR_SYSTEM, errnum, "cannot bind %s", path);
    }
    if (lchown(path, (uid_t)-1, group) < 0 || chmod(path, 0660) < 0) {
        errnum = errno;
        (void)unlink(path);
        return error_sys(err, ERR_SYSTEM, errnum, "cannot set the group and mode of %s", path);
    }
    return 0;
}

static int open_unix(const char *path, gid_t group, int *ret, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return error_set(err, ERR_INVALID_CONFIG, "listen: '%s' is longer than the 107 bytes of a socket path", path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a unix socket");
    }
    if (clear_way(&address, err) < 0 || bind_unix(fd, &address, group, err) < 0) {
        return -1;
    }
    if (listen(fd, BACKLOG) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot listen on %s", path);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

static int open_tcp(const struct config_listen *where, int *ret, struct error *err)
{
    char text[IPV4_TEXT_MAX];
    (void)ipv4_format(where->address, text);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(where->port),
        .sin_addr.s_addr = htonl(where->address),
    };
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a TCP socket");
    }
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0) {
        return error_sys(err, errno == EADDRINUSE ? ERR_CONFLICT : ERR_SYSTEM, errno, "cannot listen on %s:%u", text, where->port);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

int listen_open(const struct config *config, struct listen_socket **ret, struct error *err)
{
    gid_t group = 0;
    if (group_of(config->user, &group, err) < 0) {
        return -1;
    }
    struct listen_socket *sockets = calloc(config->listen_count, sizeof *sockets);
    if (sockets == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *where = &config->listen[i];
        int *fd = &sockets[i].fd;
        sockets[i].is_tcp = where->is_tcp;
        int r = where->is_tcp ? open_tcp(where, fd, err) : open_unix(where->path, group, fd, err);
        if (r < 0) {
            listen_close(sockets, i);
            return -1;
        }
    }
    *ret = sockets;
    return 0;
}

void listen_close(struct listen_socket *sockets, size_t count)
{
    for (size_t i = 0; sockets != NULL && i < count; i++) {
        if (sockets[i].fd >= 0) {
            (void)close(sockets[i].fd);
        }
    }
    free(sockets);
}
