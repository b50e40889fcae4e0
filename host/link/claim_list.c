#include "host/link/claim_list.h"

#include "core/cleanup.h"
#include "host/link/mnl.h"

#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Since Linux 5.3; Debian 12's headers have it. */
#ifndef UDIAG_SHOW_UID
#define UDIAG_SHOW_UID 0x00000040
#define UNIX_DIAG_UID  7
#endif

bool claim_parse(const char *name, size_t len, struct claim_listed *ret)
{
    char text[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    int end = 0;
    if (len >= sizeof text || memchr(name, '\0', len) != NULL) {
        return false;
    }
    memcpy(text, name, len);
    text[len] = '\0';
    return sscanf(text, "smartvmd %15s %47s %ld %15s%n", ret->kind, ret->value, &ret->pid, ret->bridge, &end) == 4 && (size_t)end == len;
}

struct dump {
    claim_found *found;
    void *ctx;
};

static void got_socket(const struct nlmsghdr *h, void *ctx)
{
    const struct dump *dump = ctx;
    const struct nlattr *attr = NULL;
    const char *name = NULL;
    size_t len = 0;
    uint32_t uid = 0;
    struct claim_listed listed;
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || mnl_nlmsg_get_payload_len(h) < sizeof(struct unix_diag_msg)) {
        return;
    }
    mnl_attr_for_each(attr, h, sizeof(struct unix_diag_msg))
    {
        if (mnl_attr_get_type(attr) == UNIX_DIAG_NAME) {
            name = mnl_attr_get_payload(attr);
            len = mnl_attr_get_payload_len(attr);
        } else if (mnl_attr_get_type(attr) == UNIX_DIAG_UID && mnl_attr_get_payload_len(attr) == sizeof uid) {
            uid = mnl_attr_get_u32(attr);
        }
    }
    /* Abstract names begin with a zero byte. */
    if (uid == 0 && len > 1 && name[0] == '\0' && claim_parse(name + 1, len - 1, &listed)) {
        dump->found(&listed, dump->ctx);
    }
}

static void cleanup_mnl(struct mnl_socket **nl)
{
    if (*nl != NULL) {
        (void)mnl_socket_close(*nl);
    }
}

/* 0 or a positive errno. */
static int list_by_diag(struct dump *dump)
{
    enum { BUFFER_BYTES = 32768 };
    __attribute__((cleanup(cleanup_mnl))) struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    if (nl == NULL) {
        return errno;
    }
    AUTO_FREE char *buf = malloc(BUFFER_BYTES);
    if (buf == NULL) {
        return ENOMEM;
    }
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    struct unix_diag_req *req = mnl_nlmsg_put_extra_header(h, sizeof *req);
    req->sdiag_family = AF_UNIX;
    req->udiag_states = UINT32_MAX;
    req->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID;
    if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) != 0 || mnl_socket_sendto(nl, h, h->nlmsg_len) < 0) {
        return errno;
    }
    return mnl_read_answer(nl, buf, BUFFER_BYTES, got_socket, dump, NULL);
}

/* "<address>: <refcount> <protocol> <flags> <type> <state> <inode> @<name>" */
static int list_by_proc(const struct dump *dump, struct error *err)
{
    char line[512];
    AUTO_FCLOSE FILE *file = fopen("/proc/net/unix", "re");
    if (file == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "the unix sockets of this network namespace could not be listed");
    }
    while (fgets(line, sizeof line, file) != NULL) {
        struct claim_listed listed;
        const char *name = strstr(line, " @smartvmd ");
        if (name != NULL && claim_parse(name + 2, strcspn(name + 2, "\n"), &listed)) {
            dump->found(&listed, dump->ctx);
        }
    }
    return 0;
}

int claim_list(claim_found *found, void *ctx, struct error *err)
{
    struct dump dump = {.found = found, .ctx = ctx};
    return list_by_diag(&dump) == 0 ? 0 : list_by_proc(&dump, err);
}
