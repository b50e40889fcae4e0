/* smartvmd: the start of the daemon, and the only file that knows both halves, server/ and worker/. */
#include "api/spec.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "core/fault.h"
#include "core/ipc.h"
#include "core/log.h"
#include "db/db.h"
#include "server/api_process.h"
#include "server/config.h"
#include "server/listen.h"
#include "server/lock.h"
#include "server/notify.h"
#include "server/openapi_data.h"
#include "worker/fault_points.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { SETS_MAX = 64, DESCRIPTORS_MAX = 65536 };

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    const char *config_path;
    const char *sets[SETS_MAX];
    size_t set_count;
    bool check_config;
    bool stop_vms;
};

struct daemon {
    struct config *config;
    struct listen_socket *sockets;
    struct db *db;
    int lock_fd;
    int sockets_pair[2]; /* worker's end, API process's end */
    struct api_process_setup api;
};

static const char usage_text[] =
    "Usage: smartvmd [--config FILE] [--set KEY=VALUE]... [--stop-vms] | --check-config | --version | --help\n"
    "\n"
    "Turns this host into a Firecracker microVM service. Runs in the foreground, as root.\n"
    "\n"
    "  --config FILE    configuration (YAML); every key has a default\n"
    "  --set KEY=VALUE  overrides a key; the value is YAML: --set network.subnet=10.9.0.0/24\n"
    "  --check-config   checks the configuration and ends\n"
    "  --stop-vms       on SIGTERM stop every VM too; without it they keep running\n"
    "  --version        prints the version\n";

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'},
                                          {"set", required_argument, NULL, 's'},
                                          {"check-config", no_argument, NULL, 'k'},
                                          {"stop-vms", no_argument, NULL, 'x'},
                                          {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (;;) {
        int option = getopt_long(argc, argv, "", longs, NULL);
        if (option == -1) {
            break;
        }
        if (option == 'c') {
            options->config_path = optarg;
        } else if (option == 's' && options->set_count < SETS_MAX) {
            options->sets[options->set_count++] = optarg;
        } else if (option == 'k') {
            options->check_config = true;
        } else if (option == 'x') {
            options->stop_vms = true;
        } else if (option == 'v') {
            (void)puts("smartvmd " SMARTVM_VERSION);
            return EXIT_OK;
        } else if (option == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        } else {
            (void)fputs(usage_text, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "smartvmd: unexpected argument '%s'\n%s", argv[optind], usage_text);
        return EXIT_USAGE;
    }
    return -1;
}

static int load_config(const struct options *options, struct config **ret, struct error *err)
{
    struct spec *spec = NULL;
    if (spec_load(openapi_yaml_begin, openapi_yaml_len, &spec, err) != 0) {
        return -1;
    }
    int result = config_load(spec, options->config_path, options->sets, options->set_count, ret, err);
    spec_free(spec);
    (void)malloc_trim(0);
    return result;
}

/* Makes a directory and its parents; the last one gets this mode and group. */
static int make_directory(const char *path, mode_t mode, gid_t group, struct error *err)
{
    char partial[300];
    size_t len = strlen(path);
    for (size_t i = 1; i <= len && i < sizeof partial; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST) {
            return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", partial);
        }
    }
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, 0, group) != 0 || fchmod(fd, mode) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be set up", path);
    }
    return 0;
}

/* Only the API process's group may pass through to the database, and nobody else to anything. */
static int make_directories(const struct config *config, gid_t group, char *database, size_t size, struct error *err)
{
    char db_dir[260];
    (void)snprintf(db_dir, sizeof db_dir, "%s/db", config->state_dir);
    (void)snprintf(database, size, "%s/smartvm.db", db_dir);
    if (make_directory(config->state_dir, 0710, group, err) != 0 || make_directory(db_dir, 02770, group, err) != 0) {
        return -1;
    }
    return make_directory(config->run_dir, 0711, 0, err);
}

/*
 * SQLite gives its -wal and -shm files the mode and owner of the database. The descriptor is closed before SQLite opens the file: closing any
 * descriptor of a file drops all of a process's locks on it (fcntl(2)).
 */
static int prepare_database(const char *path, gid_t group, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (fd < 0 || fchown(fd, 0, group) != 0 || fchmod(fd, 0660) != 0) {
        return error_sys(err, ERR_DATABASE, errno, "%s could not be set up", path);
    }
    return 0;
}

static int start_api(void *ctx, struct error *err)
{
    struct daemon *daemon = ctx;
    return api_process_start(&daemon->api, err);
}

static void tell_ready(void *ctx)
{
    (void)ctx;
    log_event(LOG_INFO, "daemon.ready", "version", SMARTVM_VERSION, NULL);
    (void)notify_send("READY=1", NULL);
}

static int set_up(struct daemon *daemon, struct error *err)
{
    const struct config *config = daemon->config;
    const struct passwd *user = getpwnam(config->user);
    char database[300];
    if (geteuid() != 0) {
        return error_set(err, ERR_SYSTEM, "smartvmd must be started as root");
    }
    if (user == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "the user '%s' of the API process does not exist: "
                         "make it (useradd --system %s) or set `user`", config->user, config->user);
    }
    if (make_directories(config, user->pw_gid, database, sizeof database, err) != 0 ||
        lock_acquire(config->state_dir, &daemon->lock_fd, err) != 0 ||
        listen_open(config, &daemon->sockets, err) != 0 ||
        prepare_database(database, user->pw_gid, err) != 0 ||
        db_open(database, DB_WORKER, &daemon->db, err) != 0 || ipc_pair(daemon->sockets_pair, err) != 0) {
        return -1;
    }
    AUTO_FREE char *json = config_to_json(config);
    if (json == NULL) {
        return error_oom(err);
    }
    daemon->api = (struct api_process_setup){.worker_socket = daemon->sockets_pair[1],
                                             .config_fd = api_process_config_fd(json, err),
                                             .sockets = daemon->sockets,
                                             .socket_count = config->listen_count};
    return daemon->api.config_fd < 0 ? -1 : 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_MAX) {
        limit.rlim_cur = DESCRIPTORS_MAX;
        limit.rlim_max = limit.rlim_max < DESCRIPTORS_MAX ? DESCRIPTORS_MAX : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void prepare_process(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(0077);
    (void)mallopt(M_ARENA_MAX, 2);
    raise_descriptor_limit();
    log_set_role("worker");
}

static int run(struct daemon *daemon, const struct options *options, struct error *err)
{
    char fault_path[200];
    (void)snprintf(fault_path, sizeof fault_path, "%s/fault", daemon->config->run_dir);
    fault_init("worker", fault_path);
    log_set_level(daemon->config->log.level);
    prepare_process();
    if (set_up(daemon, err) != 0) {
        return -1;
    }
    const struct worker_setup setup = {.config = daemon->config,
                                       .db = daemon->db,
                                       .api_socket = daemon->sockets_pair[0],
                                       .stop_vms = options->stop_vms,
                                       .start_api = start_api,
                                       .ready = tell_ready,
                                       .ctx = daemon};
    int result = worker_run(&setup, err);
    (void)notify_send("STOPPING=1", NULL);
    return result;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], API_PROCESS_FLAG) == 0) {
        return api_process_main(argc, argv);
    }
#ifdef SMARTVM_FAULTS
    if (argc > 1 && strcmp(argv[1], "--fault-points") == 0) {
        fault_points_print();
        return EXIT_OK;
    }
#endif
    struct options options = {.config_path = NULL};
    struct daemon daemon = {.lock_fd = -1, .sockets_pair = {-1, -1}, .api = {.config_fd = -1}};
    struct error err = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    int result = load_config(&options, &daemon.config, &err);
    if (result == 0 && options.check_config) {
        (void)puts("smartvmd: the configuration is valid");
    } else if (result == 0) {
        result = run(&daemon, &options, &err);
    }
    if (result != 0) {
        (void)fprintf(stderr, "smartvmd: %s: %s\n", error_code_name(err.code), err.message);
    }
    if (daemon.config != NULL) {
        listen_close(daemon.sockets, daemon.config->listen_count);
    }
    db_close(daemon.db);
    const int fds[] = {daemon.lock_fd, daemon.sockets_pair[0], daemon.sockets_pair[1], daemon.api.config_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    config_free(daemon.config);
    return result == 0 ? EXIT_OK : EXIT_FAILED;
}
