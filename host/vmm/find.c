#include "host/vmm/find.h"

#include "core/limits.h"
#include "host/process/process.h"

#include <stdio.h>
#include <string.h>

struct search {
    char prefix[LIMIT_SOCKET_PATH_BYTES];
    void (*found)(pid_t pid, const char *id, void *ctx);
    void *ctx;
};

static void look_at_argument(pid_t pid, const char *argument, void *ctx)
{
    static const char name[] = "/api.sock";
    const struct search *search = ctx;
    const char *path = strchr(argument, '/');
    if (path == NULL || strncmp(path, search->prefix, strlen(search->prefix)) != 0) {
        return;
    }
    path += strlen(search->prefix);
    const size_t len = strcspn(path, "/");
    /* Anyone may name our paths, to read a console for instance; the socket's is a VMM's. */
    const char *end = strncmp(path + len, name, sizeof name - 1) == 0 ? path + len + sizeof name - 1 : NULL;
    char id[LIMIT_VM_ID_BYTES + 1];
    if (end == NULL || (*end != '\0' && *end != ',') || len >= sizeof id) {
        return;
    }
    memcpy(id, path, len);
    id[len] = '\0';
    search->found(pid, id, search->ctx);
}

int vmm_find_processes(const char *run_dir, void (*found)(pid_t pid, const char *id, void *ctx), void *ctx, struct error *err)
{
    struct search search = {.found = found, .ctx = ctx};
    char qemu[LIMIT_SOCKET_PATH_BYTES + 8];
    (void)snprintf(search.prefix, sizeof search.prefix, "%s/vm/", run_dir);
    (void)snprintf(qemu, sizeof qemu, "unix:%s", search.prefix);
    return process_find((const char *const[]){search.prefix, qemu, NULL}, look_at_argument, &search, err);
}
