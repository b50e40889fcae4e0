/* smartvmd: the start of each process of the daemon, and the only file that knows them all: worker/, server/ and keeper/. */
#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "core/core_dumps.h"
#include "core/fault.h"
#include "core/frame.h"
#include "core/ipc.h"
#include "core/log.h"
#include "db/db.h"
#include "host/link/claim.h"
#include "host/process/spawn_lock.h"
#include "host/store/inspect.h"
#include "keeper/keeper.h"
#include "server/api_process.h"
#include "server/child.h"
#include "server/config.h"
#include "server/directories.h"
#include "server/inspector_process.h"
#include "server/keeper_process.h"
#include "server/listen.h"
#include "server/lock.h"
#include "server/notify.h"
#include "server/openapi_data.h"
#include "server/privileges.h"
#include "worker/fault_points.h"
#include "worker/purge/purge.h"
#include "worker/worker.h"

#include <getopt.h>
#include <malloc.h>
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
    bool purge;
};

struct daemon {
    struct config *config;
    struct listen_socket *sockets;
    int state_lock, run_lock;
    int config_fd; /* the configuration, for the other processes */
    struct claims *claims;
    struct api_process_setup api;
};

static const char usage_text[] =
    "Usage: smartvmd [--config FILE] [--set KEY=VALUE]... [--stop-vms | --check-config | --purge] | --version | --help\n"
    "\n"
    "Turns this host into a Firecracker microVM service. Runs in the foreground, as root.\n"
    "\n"
    "  --config FILE    configuration (YAML); every key has a default\n"
    "  --set KEY=VALUE  overrides a key; the value is YAML: --set network.subnet=10.9.0.0/24\n"
    "  --check-config   checks the configuration and ends\n"
    "  --stop-vms       on SIGTERM stop every VM too; without it they keep running\n"
    "  --purge          removes the instance of this configuration from the host, and ends: its VMs, network, directories, database and images.\n"
    "                   Refused while its daemon runs; what is not marked as its own is left alone; safe to run again\n"
    "  --version        prints the version\n";

/* Returns -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
                                          {"check-config", no_argument, NULL, 'k'}, {"stop-vms", no_argument, NULL, 'x'},
                                          {"purge", no_argument, NULL, 'p'},        {"version", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    for (;;) {
        int option = getopt_long(argc, argv, "h", longs, NULL);
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
        } else if (option == 'p') {
            options->purge = true;
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
    int (*load)(const struct spec *, const char *, const char *const *, size_t, struct config **, struct error *) =
        options->purge && !options->check_config ? config_load_places : config_load;
    int result = load(spec, options->config_path, options->sets, options->set_count, ret, err);
    spec_free(spec);
    (void)malloc_trim(0);
    return result;
}

static int start_api(void *ctx, int *ret_socket, struct error *err)
{
    const struct daemon *daemon = ctx;
    int pair[2];
    if (ipc_pair(pair, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int theirs = pair[1];
    AUTO_CLOSE int ours = pair[0];
    struct api_process_setup setup = daemon->api;
    setup.worker_socket = theirs;
    spawn_lock_spawning();
    int pidfd = api_process_start(&setup, err);
    spawn_unlock();
    if (pidfd >= 0) {
        *ret_socket = TAKE_FD(ours);
    }
    return pidfd;
}

static int start_keeper(void *ctx, bool check, int *ret_socket, struct error *err)
{
    const struct daemon *daemon = ctx;
    int pair[2];
    if (frame_pair(pair, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int theirs = pair[1];
    AUTO_CLOSE int ours = pair[0];
    spawn_lock_spawning();
    int pidfd = keeper_process_start(theirs, daemon->config_fd, check, err);
    spawn_unlock();
    if (pidfd >= 0) {
        *ret_socket = TAKE_FD(ours);
    }
    return pidfd;
}

static int start_inspector(void *ctx, const char *word, int answer, int in, int out, struct error *err)
{
    (void)ctx;
    spawn_lock_spawning();
    int pidfd = inspector_process_start(word, answer, in, out, err);
    spawn_unlock();
    return pidfd;
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
    if (geteuid() != 0) {
        return error_set(err, ERR_SYSTEM, "smartvmd must be started as root");
    }
    if (bound_capabilities(err) != 0 || directories_make(config, err) != 0 || lock_acquire(LOCK_STATE_DIR, config->state_dir, &daemon->state_lock, err) != 0 ||
        lock_acquire(LOCK_RUN_DIR, config->run_dir, &daemon->run_lock, err) != 0 || claims_new(config->network.bridge, &daemon->claims, err) != 0 ||
        claim_take(daemon->claims, CLAIM_BRIDGE, config->network.bridge, CLAIM_PATIENCE_MS, err) != 0 || directories_hand_over(config, err) != 0 ||
        listen_open(config, &daemon->sockets, err) != 0) {
        return -1;
    }
    AUTO_FREE char *json = config_to_json(config);
    if (json == NULL) {
        return error_oom(err);
    }
    daemon->config_fd = child_config_fd(json, err);
    daemon->api = (struct api_process_setup){.worker_socket = -1, /* each has its own */
                                             .config_fd = daemon->config_fd,
                                             .sockets = daemon->sockets,
                                             .socket_count = config->listen_count};
    return daemon->config_fd < 0 ? -1 : 0;
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

static void log_start(const struct daemon *daemon)
{
    const struct config *config = daemon->config;
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    log_event(LOG_INFO, "worker.started", "version", SMARTVM_VERSION, "pid", pid, "state_dir", config->state_dir, "run_dir", config->run_dir, NULL);
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *where = &config->listen[i];
        char address[LIMIT_SOCKET_PATH_BYTES + 16];
        char ip[IPV4_TEXT_MAX];
        if (where->is_tcp) {
            (void)snprintf(address, sizeof address, "http://%s:%u", ipv4_format(where->address, ip), where->port);
        } else {
            (void)snprintf(address, sizeof address, "unix://%s", where->path);
        }
        log_event(LOG_INFO, "listener.open", "address", address, NULL);
    }
}

static int run_daemon(struct daemon *daemon, const struct options *options, struct error *err)
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
                                       .claims = daemon->claims,
                                       .stop_vms = options->stop_vms,
                                       .start_api = start_api,
                                       .start_keeper = start_keeper,
                                       .start_inspector = start_inspector,
                                       .ready = tell_ready,
                                       .ctx = daemon};
    log_start(daemon);
    int result = worker_run(&setup, err);
    (void)notify_send("STOPPING=1", NULL);
    return result;
}

static bool has_file(const char *dir, const char *name)
{
    char path[300];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return lstat(path, &st) == 0;
}

/* No daemon of the instance may run, nor start meanwhile. Directories that are not a daemon's are not even locked. */
static int purge(struct daemon *daemon, struct error *err)
{
    const struct config *config = daemon->config;
    struct purge setup = {.config = config,
                          .has_state = has_file(config->state_dir, "lock") || has_file(config->state_dir, "db/smartvm.db"),
                          .has_run = has_file(config->run_dir, "smartvmd.lock")};
    if (geteuid() != 0) {
        return error_set(err, ERR_SYSTEM, "smartvmd --purge must be started as root");
    }
    if ((setup.has_state && lock_acquire(LOCK_STATE_DIR, config->state_dir, &daemon->state_lock, err) != 0) ||
        (setup.has_run && lock_acquire(LOCK_RUN_DIR, config->run_dir, &daemon->run_lock, err) != 0) ||
        claims_new(config->network.bridge, &daemon->claims, err) != 0 ||
        claim_take(daemon->claims, CLAIM_BRIDGE, config->network.bridge, CLAIM_PATIENCE_MS, err) != 0) {
        return error_prefix(err, "nothing was removed");
    }
    return purge_run(&setup, err);
}

static int keeper_main(int argc, char **argv)
{
    struct db *db = NULL;
    struct error err = {0};
    int socket = -1;
    enum keeper_end end = KEEPER_FAILED;
    if (keeper_process_open(argc, argv, &db, &socket, &err) == 0) {
        end = keeper_run(db, socket);
    } else {
        log_event(LOG_ERROR, "keeper.failed", "code", error_code_name(err.code), "message", err.message, NULL);
    }
    db_close(db);
    return (int)end;
}

/* Ends without the exit handlers, which have no right to do anything any more. */
__attribute__((noreturn)) static void inspector_main(int argc, char **argv)
{
    const char *word = NULL;
    struct error err = {0};
    struct inspection what;
    bool unpacked = false;
    int result = inspector_process_open(argc, argv, &word, &err);
    if (result == 0 && !inspection_parse(word, &what)) {
        result = error_set(&err, ERR_BAD_REQUEST, "the arguments are not those of the inspector");
    }
    if (result == 0) {
        result = inspector_process_close(what.max_bytes, &err);
    }
    if (result == 0) {
        result = inspect_file(&what, INSPECTOR_FD_IN, INSPECTOR_FD_OUT, &unpacked, &err);
    }
    _exit(inspection_tell(INSPECTOR_FD_ANSWER, result, unpacked, &err) ? EXIT_OK : EXIT_FAILED);
}

int main(int argc, char **argv)
{
    core_dumps_off();
    if (argc > 1 && strcmp(argv[1], INSPECTOR_PROCESS_FLAG) == 0) {
        inspector_main(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], API_PROCESS_FLAG) == 0) {
        return api_process_main(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], KEEPER_PROCESS_FLAG) == 0) {
        return keeper_main(argc, argv);
    }
#ifdef SMARTVM_FAULTS
    if (argc > 1 && strcmp(argv[1], "--fault-points") == 0) {
        fault_points_print();
        return EXIT_OK;
    }
#endif
    struct options options = {.config_path = NULL};
    struct daemon daemon = {.state_lock = -1, .run_lock = -1, .config_fd = -1};
    struct error err = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    int result = load_config(&options, &daemon.config, &err);
    if (result == 0 && options.check_config) {
        (void)puts("smartvmd: the configuration is valid");
    } else if (result == 0 && options.purge) {
        log_set_level(LOG_WARN);
        result = purge(&daemon, &err);
    } else if (result == 0) {
        result = run_daemon(&daemon, &options, &err);
    }
    if (result != 0) {
        (void)fprintf(stderr, "smartvmd: %s: %s\n", error_code_name(err.code), err.message);
    }
    if (daemon.config != NULL) {
        listen_close(daemon.sockets, daemon.config->listen_count);
    }
    claims_free(daemon.claims);
    const int fds[] = {daemon.state_lock, daemon.run_lock, daemon.config_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    config_free(daemon.config);
    return result == 0 ? EXIT_OK : EXIT_FAILED;
}
