#include "server/api_process.h"

#include "api/api.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "core/coverage.h"
#include "core/fault.h"
#include "core/limits.h"
#include "db/db.h"
#include "server/config.h"
#include "server/drop.h"
#include "server/loop.h"
#include "server/openapi_data.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Where the descriptors lie in the new process; listening sockets follow. */
enum { FD_WORKER = 3, FD_CONFIG = 4, FD_LISTEN = 5, LISTEN_MAX = 8, FD_ABOVE = FD_LISTEN + LISTEN_MAX };

int api_process_config_fd(const char *text, struct error *err)
{
    size_t len = strlen(text);
    AUTO_CLOSE int fd = memfd_create("smartvmd-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the configuration could not be handed over");
    }
    return TAKE_FD(fd);
}

/* Between fork and exec of a process with threads: system calls only. */
__attribute__((noreturn)) static void become_api(const struct api_process_setup *setup, char *const argv[])
{
    int fds[FD_ABOVE - FD_WORKER] = {setup->worker_socket, setup->config_fd};
    size_t count = 2;
    for (size_t i = 0; i < setup->socket_count && i < LISTEN_MAX; i++) {
        fds[count++] = setup->sockets[i].fd;
    }
    /* First out of the way of the places they shall have, then there. */
    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FD_ABOVE);
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[i] < 0 || dup2(fds[i], FD_WORKER + (int)i) < 0) {
            _exit(126);
        }
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)syscall(SYS_close_range, (unsigned)(FD_WORKER + (int)count), ~0U, 0U);
    (void)execv("/proc/self/exe", argv);
    _exit(127);
}

int api_process_start(const struct api_process_setup *setup, struct error *err)
{
    char parent[24];
    char kinds[LISTEN_MAX + 1] = "";
    for (size_t i = 0; i < setup->socket_count && i < LISTEN_MAX; i++) {
        kinds[i] = setup->sockets[i].is_tcp ? 't' : 'u';
    }
    (void)snprintf(parent, sizeof parent, "%d", (int)getpid());
    char name[] = "smartvmd";
    char flag[] = API_PROCESS_FLAG;
    char *const argv[] = {name, flag, parent, kinds, NULL};
    pid_t pid = fork();
    if (pid < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the API process could not be started");
    }
    if (pid == 0) {
        become_api(setup, argv);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
    if (pidfd < 0) {
        (void)error_sys(err, ERR_SYSTEM, errno, "the API process could not be watched");
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return pidfd;
}

static int read_config(struct config **ret, struct error *err)
{
    struct stat st;
    AUTO_CLOSE int fd = FD_CONFIG;
    if (fstat(fd, &st) != 0 || st.st_size > LIMIT_CONFIG_BYTES) {
        return error_set(err, ERR_SYSTEM, "no configuration was handed over");
    }
    AUTO_FREE char *text = malloc((size_t)st.st_size + 1);
    if (text == NULL) {
        return error_oom(err);
    }
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
        return error_sys(err, ERR_SYSTEM, errno, "the configuration could not be read");
    }
    return config_from_json(text, (size_t)st.st_size, ret, err);
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
    if (read_config(&config, err) != 0 || config == NULL) {
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
    if (spec_load(openapi_yaml_begin, len, &process->spec, err) != 0 ||
        db_open(path, DB_API, &process->db, err) != 0) {
        return -1;
    }
    process->link.socket = FD_WORKER;
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
        sockets[i] = (struct listen_socket){.fd = FD_LISTEN + (int)i, .is_tcp = kinds[i] == 't'};
        (void)fcntl(sockets[i].fd, F_SETFD, FD_CLOEXEC);
    }
    (void)fcntl(FD_WORKER, F_SETFD, FD_CLOEXEC);
    const struct server_setup setup = {.sockets = sockets,
                                       .socket_count = count,
                                       .api = process->api,
                                       .link = &process->link,
                                       .log_requests = process->config->log.level == LOG_DEBUG};
    int result = drop_system_calls(err) != 0 ? -1 : server_run(&setup, err);
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
    if (argc != 4 || strlen(argv[3]) > LISTEN_MAX) {
        (void)fprintf(stderr, "smartvmd: %s is for the daemon's own use\n", API_PROCESS_FLAG);
        return 2;
    }
    int result = open_all(&process, (pid_t)strtol(argv[2], NULL, 10), &err);
    if (result == 0) {
        result = serve(&process, argv[3], &err);
    }
    if (result != 0) {
        log_event(LOG_ERROR, "api.failed", "code", error_code_name(err.code), "message", err.message, NULL);
    }
    api_process_free(&process);
    return result == 0 ? 0 : 1;
}
