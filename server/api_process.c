#include "server/api_process.h"

#include "api/api.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "core/coverage.h"
#include "core/fault.h"
#include "db/db.h"
#include "server/child.h"
#include "server/config.h"
#include "server/loop.h"
#include "server/openapi_data.h"
#include "server/privileges.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

enum { LISTEN_MAX = CHILD_FDS_MAX - (CHILD_FD_MORE - CHILD_FD_WORKER) };

int api_process_start(const struct api_process_setup *setup, struct error *err)
{
    char kinds[LISTEN_MAX + 1] = "";
    int fds[CHILD_FDS_MAX] = {setup->worker_socket, setup->config_fd};
    size_t count = CHILD_FD_MORE - CHILD_FD_WORKER;
    for (size_t i = 0; i < setup->socket_count && i < LISTEN_MAX; i++) {
        kinds[i] = setup->sockets[i].is_tcp ? 't' : 'u';
        fds[count++] = setup->sockets[i].fd;
    }
    return child_start(API_PROCESS_FLAG, kinds, fds, count, err);
}

struct api_process {
    struct config *config;
    struct spec *spec;
    struct db *db;
    struct api *api;
    struct server_link link;
};

static void api_process_free(struct api_process *process)
{
    api_free(process->api);
    db_close(process->db);
    spec_free(process->spec);
    config_free(process->config);
}

static int open_all(struct api_process *process, pid_t parent, struct error *err)
{
    char path[300];
    struct config *config = NULL;
    if (child_read_config(&config, err) != 0 || config == NULL) {
        return -1;
    }
    process->config = config;
    if (drop_privileges(config->user, parent, err) != 0) {
        return -1;
    }
    log_set_level(config->log.level);
    (void)snprintf(path, sizeof path, "%s/fault", config->run_dir);
    fault_init("api", path);
    (void)snprintf(path, sizeof path, "%s/db/smartvm.db", config->state_dir);
    const size_t len = openapi_yaml_len;
    if (spec_load(openapi_yaml_begin, len, &process->spec, err) != 0 || db_open(path, DB_API, &process->db, err) != 0) {
        return -1;
    }
    process->link.socket = CHILD_FD_WORKER;
    const struct api_setup setup = {.spec = process->spec,
                                    .openapi_yaml = openapi_yaml_begin,
                                    .openapi_yaml_len = len,
                                    .db = process->db,
                                    .config = process->config,
                                    .wake_worker = server_wake,
                                    .wake_ctx = &process->link};
    return api_new(&setup, &process->api, err);
}

static int serve(struct api_process *process, const char *kinds, struct error *err)
{
    size_t count = strlen(kinds);
    struct listen_socket *sockets = calloc(count + 1, sizeof *sockets);
    if (sockets == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count; i++) {
        sockets[i] = (struct listen_socket){.fd = CHILD_FD_MORE + (int)i, .is_tcp = kinds[i] == 't'};
        (void)fcntl(sockets[i].fd, F_SETFD, FD_CLOEXEC);
    }
    (void)fcntl(CHILD_FD_WORKER, F_SETFD, FD_CLOEXEC);
    const struct server_setup setup = {.sockets = sockets,
                                       .socket_count = count,
                                       .api = process->api,
                                       .link = &process->link,
                                       .limits = {.max_connections = process->config->http.max_connections,
                                                  .max_connections_per_peer = process->config->http.max_connections_per_peer,
                                                  .head_timeout_s = process->config->http.head_timeout_s,
                                                  .body_timeout_s = process->config->http.body_timeout_s},
                                       .log_requests = process->config->log.level == LOG_DEBUG};
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    log_event(LOG_INFO, "api.started", "version", SMARTVM_VERSION, "pid", pid, NULL);
    int result = drop_system_calls(SYSTEM_CALLS_OF_API, err) != 0 ? -1 : server_run(&setup, err);
    listen_close(sockets, count);
    return result;
}

int api_process_main(int argc, char **argv)
{
    struct api_process process = {.config = NULL};
    struct error err = {0};
    log_set_role("api");
    coverage_of_api();
    (void)mallopt(M_ARENA_MAX, 1);
    pid_t parent = 0;
    const char *kinds = NULL;
    if (!child_arguments(argc, argv, &parent, &kinds) || strlen(kinds) > LISTEN_MAX) {
        return 2;
    }
    int result = open_all(&process, parent, &err);
    if (result == 0) {
        result = serve(&process, kinds, &err);
    }
    if (result != 0) {
        log_event(LOG_ERROR, "api.failed", "code", error_code_name(err.code), "message", err.message, NULL);
    }
    api_process_free(&process);
    return result == 0 ? 0 : 1;
}
