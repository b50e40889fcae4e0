#include "host/vmm/firecracker.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "host/vmm/argv.h"
#include "host/vmm/common.h"
#include "host/vmm/unix_http.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

const char *const firecracker_noise[] = {"Firecracker exiting", "Running Firecracker", "Error: ", "note: ", NULL};
const char *const firecracker_lead_ins[] = {"RunWithApiError error: ", "Error: ", NULL};

/* What comes before Firecracker's own arguments. Its jailer needs no --cgroup: the process is in its cgroup already, with its limits. */
static void add_jailer(struct argv *argv, const struct vmm_spec *spec)
{
    argv_add(argv, spec->jail->jailer);
    argv_add(argv, "--id");
    argv_add(argv, spec->id);
    argv_add(argv, "--exec-file");
    argv_add(argv, spec->binary);
    argv_add(argv, "--uid");
    argv_addf(argv, "%u", (unsigned)spec->jail->uid);
    argv_add(argv, "--gid");
    argv_addf(argv, "%u", (unsigned)spec->jail->uid);
    argv_add(argv, "--chroot-base-dir");
    argv_add(argv, spec->jail->place);
    argv_add(argv, "--");
}

/*
 * The log is limited to errors of the `firecracker` module, which are those that tell why a VMM did not
 * start. The others can be caused by the guest, above all the one for each byte of console output that found
 * the FIFO full: 160 bytes of log for one byte, without end.
 */
int firecracker_command(const struct vmm_spec *spec, char ***ret_argv, struct error *err)
{
    char socket[LIMIT_SOCKET_PATH_BYTES];
    char config[VMM_PATH_MAX];
    char log[VMM_PATH_MAX];
    if (vmm_socket_path(spec, socket, err) != 0 || vmm_path(spec, "vmm.json", config, err) != 0 || vmm_path(spec, "vmm.out", log, err) != 0) {
        return -1;
    }
    AUTO_ARGV argv = ARGV_INIT;
    if (spec->jail != NULL) {
        add_jailer(&argv, spec);
    } else {
        argv_add(&argv, spec->binary);
        argv_add(&argv, "--id");
        argv_add(&argv, spec->id);
    }
    argv_add(&argv, "--api-sock");
    argv_add(&argv, socket);
    argv_add(&argv, "--config-file");
    argv_add(&argv, config);
    argv_add(&argv, "--log-path");
    argv_add(&argv, log);
    argv_add(&argv, "--level");
    argv_add(&argv, "Error");
    argv_add(&argv, "--module");
    argv_add(&argv, "firecracker");
    char **items = argv_take(&argv);
    if (items == NULL) {
        return error_oom(err);
    }
    *ret_argv = items;
    return 0;
}

int firecracker_fault(long status, const char *body, size_t len, struct error *err)
{
    AUTO_JSON *reply = NULL;
    const char *fault = NULL;
    if (json_parse(body, len, &reply, NULL) == 0) {
        fault = json_get_string(reply, "fault_message");
    }
    if (fault == NULL) {
        return error_set(err, ERR_VMM_FAILED, "Firecracker answered with HTTP status %ld", status);
    }
    return error_set(err, ERR_VMM_FAILED, "Firecracker: %s", fault);
}

int firecracker_parse_instance(const char *body, size_t len, enum vmm_state *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum vmm_state state;
    } states[] = {
        {"Not started", VMM_STATE_STARTING},
        {"Running", VMM_STATE_RUNNING},
        {"Paused", VMM_STATE_PAUSED},
    };
    AUTO_JSON *reply = NULL;
    const char *name = json_parse(body, len, &reply, NULL) == 0 ? json_get_string(reply, "state") : NULL;
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(states); i++) {
        if (strcmp(name, states[i].name) == 0) {
            *ret = states[i].state;
            return 0;
        }
    }
    return error_set(err, ERR_VMM_FAILED, "Firecracker reports no state that is known: \"%s\"", name == NULL ? "" : name);
}

static bool has_no_guest(pid_t pid)
{
    pid_t vcpu;
    return firecracker_guest(pid, &vcpu) == VMM_GUEST_NONE;
}

static int call(const struct vmm_peer *peer, int timeout_ms, const char *method, const char *target, const char *body, struct unix_http_reply *ret,
                struct error *err)
{
    char path[VMM_PEER_PATH_MAX];
    char name[VMM_PATH_MAX];
    const struct unix_http_check check = {vmm_peer_check, peer, name};
    AUTO_CLOSE int place = -1;
    (void)snprintf(name, sizeof name, "%.200s/api.sock", peer->dir);
    if (vmm_peer_open(peer, &place, path, err) != 0 || unix_http_call(path, &check, method, target, body, timeout_ms, has_no_guest, ret, err) != 0) {
        return -1;
    }
    if (ret->status / 100 != 2) {
        return firecracker_fault(ret->status, ret->body, ret->len, err);
    }
    return 0;
}

static int order(const struct vmm_peer *peer, int timeout_ms, const char *method, const char *target, const char *body, struct error *err)
{
    AUTO_UNIX_HTTP_REPLY reply = UNIX_HTTP_REPLY_INIT;
    return call(peer, timeout_ms, method, target, body, &reply, err);
}

int firecracker_query(const struct vmm_peer *peer, int timeout_ms, enum vmm_state *ret, struct error *err)
{
    AUTO_UNIX_HTTP_REPLY reply = UNIX_HTTP_REPLY_INIT;
    if (call(peer, timeout_ms, "GET", "/", NULL, &reply, err) != 0) {
        return -1;
    }
    return firecracker_parse_instance(reply.body, reply.len, ret, err);
}

int firecracker_pause(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    return order(peer, timeout_ms, "PATCH", "/vm", "{\"state\": \"Paused\"}", err);
}

int firecracker_resume(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    return order(peer, timeout_ms, "PATCH", "/vm", "{\"state\": \"Resumed\"}", err);
}

int firecracker_shutdown(const struct vmm_peer *peer, int timeout_ms, struct error *err)
{
    return order(peer, timeout_ms, "PUT", "/actions", "{\"action_type\": \"SendCtrlAltDel\"}", err);
}

int firecracker_version(const char *binary, char *ret, size_t size, struct error *err)
{
    return vmm_run_version(binary, "Firecracker v", ret, size, err);
}

int firecracker_jailer_version(const char *jailer, char *ret, size_t size, struct error *err)
{
    return vmm_run_version(jailer, "Jailer v", ret, size, err);
}

/* Its src/vmm/src/lib.rs, enum FcExitCode: the signals that it catches. BadSyscall is a call that its seccomp filter does not allow. */
int firecracker_caught_signal(int exit_status)
{
    static const struct {
        int status, number;
    } caught[] = {{148, SIGSYS}, {149, SIGBUS}, {150, SIGSEGV}, {151, SIGXFSZ}, {154, SIGXCPU}, {156, SIGHUP}, {157, SIGILL}};
    for (size_t i = 0; i < ARRAY_LEN(caught); i++) {
        if (caught[i].status == exit_status) {
            return caught[i].number;
        }
    }
    return 0;
}
