#include "worker/host_facts.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "host/process/jail.h"
#include "host/vmm/firecracker.h"
#include "worker/border/wanted.h"
#include "worker/context.h"
#include "worker/vm/stage.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

enum { KVM_PROBE_MS = 1000 };

static const char *search_path(void)
{
    const char *path = getenv("PATH");
    return path != NULL ? path : "/usr/local/bin:/usr/bin:/bin";
}

static bool is_same_file(const struct file_identity *a, const struct file_identity *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mode == b->mode && a->changed_ns == b->changed_ns &&
           a->modified_ns == b->modified_ns;
}

/* Zeros for a file that is not there. */
static struct file_identity identify(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return (struct file_identity){.ino = 0};
    }
    return (struct file_identity){.dev = st.st_dev,
                                  .ino = st.st_ino,
                                  .size = st.st_size,
                                  .mode = st.st_mode,
                                  .modified_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
                                  .changed_ns = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec};
}

/* What a program is looked at by. */
struct program {
    const char *label; /* in the log */
    const char *name;  /* path, or to be looked up */
    int (*version)(const char *binary, char *ret, size_t size, struct error *err);
    struct vmm_fact *fact;
};

/* With the lock of looking: which file it is costs a few stat(2); its version is only asked for when that is another one than before. */
static bool look_at_program(struct worker *worker, const struct program *program)
{
    struct vmm_fact *fact = program->fact;
    struct vmm_fact now = {.available = false};
    struct error err = {0};
    const bool found = vmm_find_binary(program->name, search_path(), now.path, sizeof now.path, &err) == 0;
    now.identity = found ? identify(now.path) : (struct file_identity){.ino = 0};
    if (found && fact->identity.ino != 0 && strcmp(fact->path, now.path) == 0 && is_same_file(&fact->identity, &now.identity)) {
        return false;
    }
    now.available = found && program->version(now.path, now.version, sizeof now.version, &err) == 0;
    if (!now.available) {
        (void)snprintf(now.reason, sizeof now.reason, "%.255s", err.message);
    }
    if (!found && fact->identity.ino == 0 && strcmp(fact->reason, now.reason) == 0) {
        return false;
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    *fact = now;
    (void)pthread_mutex_unlock(&worker->facts.lock);
    if (now.available) {
        log_event(LOG_INFO, "host.vmm_found", "vmm", program->label, "path", now.path, "version", now.version, NULL);
    } else {
        log_event(LOG_INFO, "host.vmm_missing", "vmm", program->label, "reason", now.reason, NULL);
    }
    return true;
}

/* Is the jailer that is there one to be used? With the lock of looking; after Firecracker was looked at. */
static void judge_jailer(struct worker *worker)
{
    struct containment *containment = &worker->facts.containment;
    struct vmm_fact *jailer = &containment->jailer;
    const struct vmm_fact *firecracker = &worker->facts.vmms[VMM_FIRECRACKER];
    (void)pthread_mutex_lock(&worker->facts.lock);
    containment->fault = jailer->version[0] != '\0' ? known_fault_find("jailer", jailer->version) : NULL;
    if (jailer->version[0] != '\0') {
        jailer->available = true;
        jailer->reason[0] = '\0';
        if (containment->fault != NULL && !worker->config->vmm.allow_known_faults) {
            jailer->available = false;
            (void)snprintf(jailer->reason, sizeof jailer->reason, "the jailer %s has %s, and vmm.allow_known_faults is false", jailer->version,
                           containment->fault->name);
        } else if (firecracker->available && version_compare(firecracker->version, jailer->version) != 0) {
            jailer->available = false;
            (void)snprintf(jailer->reason, sizeof jailer->reason, "the jailer is of version %.64s, and Firecracker of %.64s", jailer->version,
                           firecracker->version);
        }
    }
    (void)pthread_mutex_unlock(&worker->facts.lock);
}

static bool look_at_vmms(struct worker *worker)
{
    const char *const names[VMM_KIND_COUNT_] = {[VMM_FIRECRACKER] = worker->config->vmm.firecracker, [VMM_QEMU] = worker->config->vmm.qemu};
    bool changed = false;
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        const struct program program = {vmm_drivers[i].name, names[i], vmm_drivers[i].version, &worker->facts.vmms[i]};
        changed = look_at_program(worker, &program) || changed;
    }
    const struct program jailer = {"jailer", worker->config->vmm.jailer, firecracker_jailer_version, &worker->facts.containment.jailer};
    changed = look_at_program(worker, &jailer) || changed;
    if (changed) {
        judge_jailer(worker);
    }
    return changed;
}

static bool is_required(enum config_requirement requirement, bool possible)
{
    return requirement == CONFIG_REQUIRED || (requirement == CONFIG_WHERE_POSSIBLE && possible);
}

/* Once, at the start: what the host can do then is required from then on, where nothing else is configured, so that it is never gone without silently. */
static void require(struct worker *worker)
{
    struct containment *containment = &worker->facts.containment;
    struct error why;
    const char *reason = "";
    containment->jails = jail_probe(&why) == 0;
    (void)snprintf(containment->reason, sizeof containment->reason, "%.255s", containment->jails ? "" : why.message);
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        const bool possible = host_facts_can_jail(&worker->facts, (enum vmm_kind)i, &reason);
        containment->require_jail[i] = is_required(worker->config->vmm.require_jail, possible);
        if (!possible && worker->facts.vmms[i].available) {
            log_event(LOG_WARN, "host.no_jail", "vmm", vmm_drivers[i].name, "required", containment->require_jail[i] ? "true" : "false", "reason", reason,
                      NULL);
        }
    }
    containment->require_limits = is_required(worker->config->vmm.require_limits, host_facts_can_limit(&worker->facts));
    if (!host_facts_can_limit(&worker->facts)) {
        log_event(LOG_WARN, "host.no_limits", "required", containment->require_limits ? "true" : "false", "reason",
                  "there is no cgroup v2 with the controllers memory and pids", NULL);
    }
    if (containment->fault != NULL) {
        log_event(LOG_WARN, "host.known_fault", "program", "jailer", "version", containment->jailer.version, "fault", containment->fault->name, "message",
                  containment->fault->words, NULL);
    }
}

static bool look_at_cgroup(struct worker *worker)
{
    struct cgroup_support now = {.mounted = false};
    const struct cgroup_support *before = &worker->facts.cgroup;
    if (cgroup_probe(&now, NULL) != 0 || (now.mounted == before->mounted && now.memory == before->memory && now.cpu == before->cpu &&
                                          now.pids == before->pids && now.io == before->io && strcmp(now.mount, before->mount) == 0)) {
        return false;
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    worker->facts.cgroup = now;
    (void)pthread_mutex_unlock(&worker->facts.lock);
    return true;
}

static bool look_at_staging(struct worker *worker)
{
    struct staging_fact now = {.size_mib = 0};
    const struct staging_fact *before = &worker->facts.staging;
    if (stage_root_measure(worker->stage_root, &now.in_memory, &now.size_mib) != 0 ||
        (now.in_memory == before->in_memory && now.size_mib == before->size_mib)) {
        return false;
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    worker->facts.staging = now;
    (void)pthread_mutex_unlock(&worker->facts.lock);
    return true;
}

static json_t *vmms_json(const struct host_facts *facts)
{
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        const struct vmm_fact *fact = &facts->vmms[i];
        json_build_add(&list, json_pack("{s:s, s:b, s:s?, s:s?, s:s?}", "name", vmm_drivers[i].name, "available", fact->available, "path",
                                        fact->available ? fact->path : NULL, "version", fact->available ? fact->version : NULL, "reason",
                                        fact->available ? NULL : fact->reason));
    }
    return json_build_take(&list);
}

static json_t *kvm_json(const struct host_facts *facts)
{
    if (!facts->kvm_known) {
        return json_pack("{s:b, s:n, s:s, s:n}", "present", 0, "usable", "reason", "being measured", "loop_us");
    }
    return json_pack("{s:b, s:b, s:s, s:I}", "present", facts->kvm.present, "usable", facts->kvm.usable, "reason", facts->kvm.reason, "loop_us",
                     (json_int_t)facts->kvm.loop_us);
}

/* "in force" for those VMMs that start now. */
static json_t *part_json(bool in_force, bool required, const char *reason)
{
    return json_pack("{s:b, s:b, s:s?}", "in_force", in_force, "required", required, "reason", in_force ? NULL : reason);
}

static json_t *jail_json(const struct host_facts *facts, enum vmm_kind kind)
{
    const char *reason = "";
    const bool in_force = host_facts_can_jail(facts, kind, &reason);
    return part_json(in_force, facts->containment.require_jail[kind], reason);
}

static json_t *jailer_json(const struct containment *containment)
{
    const struct vmm_fact *jailer = &containment->jailer;
    const struct known_fault *fault = containment->fault;
    AUTO_JSON *faults = json_array();
    if (fault != NULL && json_array_append_new(faults, json_pack("{s:s, s:s}", "name", fault->name, "message", fault->words)) != 0) {
        return NULL;
    }
    return json_pack("{s:b, s:s?, s:s?, s:s?, s:O}", "available", jailer->available, "path", jailer->path[0] != '\0' ? jailer->path : NULL, "version",
                     jailer->version[0] != '\0' ? jailer->version : NULL, "reason", jailer->available ? NULL : jailer->reason, "known_faults", faults);
}

static json_t *containment_json(const struct host_facts *facts)
{
    AUTO_JSON_BUILD jails = json_build_object();
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        json_build_put(&jails, vmm_drivers[i].name, jail_json(facts, (enum vmm_kind)i));
    }
    return json_pack("{s:o, s:o, s:o}", "jail", json_build_take(&jails), "limits",
                     part_json(host_facts_can_limit(facts), facts->containment.require_limits, "there is no cgroup v2 with the controllers memory and pids"),
                     "jailer", jailer_json(&facts->containment));
}

static json_t *cgroup_json(const struct cgroup_support *cgroup)
{
    const struct {
        bool available;
        const char *name;
    } controllers[] = {{cgroup->memory, "memory"}, {cgroup->cpu, "cpu"}, {cgroup->pids, "pids"}, {cgroup->io, "io"}};
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        if (controllers[i].available) {
            json_build_add(&list, json_string(controllers[i].name));
        }
    }
    return json_pack("{s:i, s:s?, s:o}", "version", cgroup->mounted ? 2 : 0, "mount", cgroup->mounted ? cgroup->mount : NULL, "controllers",
                     json_build_take(&list));
}

static int publish(struct worker *worker, struct error *err)
{
    struct utsname uts;
    struct sysinfo info;
    struct vmm_choice choice;
    struct error why = {0};
    bool known = false;
    (void)uname(&uts);
    (void)sysinfo(&info);
    int64_t mib = (int64_t)((uint64_t)info.totalram * info.mem_unit >> 20);
    AUTO_JSON_BUILD host = {.value = json_pack("{s:s, s:s, s:s, s:i, s:I}", "kernel", uts.release, "arch", uts.machine, "boot_id", worker->boot_id, "cpus",
                                               get_nprocs(), "memory_mib", (json_int_t)mib)};
    if (host_facts_choose(&worker->facts, "auto", &choice, &known, &why) != 0) {
        json_build_put(&host, "auto", json_pack("{s:n, s:n, s:s}", "driver", "accelerator", "reason", why.message));
    } else if (known) {
        json_build_put(
            &host, "auto",
            json_pack("{s:s, s:s, s:s}", "driver", vmm_drivers[choice.kind].name, "accelerator", vmm_accel_name(choice.accel), "reason", choice.reason));
    } else {
        json_build_put(&host, "auto", json_null());
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    json_build_put(&host, "kvm", kvm_json(&worker->facts));
    json_build_put(&host, "vmms", vmms_json(&worker->facts));
    json_build_put(&host, "cgroup", cgroup_json(&worker->facts.cgroup));
    json_build_put(&host, "staging",
                   json_pack("{s:s, s:b, s:I}", "path", worker->stage_root, "in_memory", (int)worker->facts.staging.in_memory, "size_mib",
                             (json_int_t)worker->facts.staging.size_mib));
    json_build_put(&host, "containment", containment_json(&worker->facts));
    (void)pthread_mutex_unlock(&worker->facts.lock);
    AUTO_FREE char *text = json_text(host.value);
    if (text == NULL) {
        return error_oom(err);
    }
    return border_fact_set(worker->border, FACT_HOST, text, NULL, err);
}

int host_facts_probe(struct worker *worker, struct error *err)
{
    if (cgroup_probe(&worker->facts.cgroup, err) != 0) {
        return -1;
    }
    (void)look_at_vmms(worker);
    (void)look_at_staging(worker);
    require(worker);
    return publish(worker, err);
}

/* With the lock of looking. */
static void measure_kvm(struct worker *worker, struct file_identity device)
{
    struct kvm_probe probe;
    kvm_probe(KVM_PROBE_MS, &probe);
    (void)pthread_mutex_lock(&worker->facts.lock);
    worker->facts.kvm = probe;
    worker->facts.kvm_device = device;
    worker->facts.kvm_known = true;
    (void)pthread_mutex_unlock(&worker->facts.lock);
}

/* The device node tells that the module was loaded, taken out, or may be used by others now. */
static bool look_at_kvm(struct worker *worker)
{
    const struct file_identity device = identify("/dev/kvm");
    if (!worker->facts.kvm_known || is_same_file(&device, &worker->facts.kvm_device)) {
        return false;
    }
    measure_kvm(worker, device);
    return true;
}

void host_facts_probe_kvm(struct worker *worker)
{
    struct error err;
    (void)pthread_mutex_lock(&worker->facts.looking);
    measure_kvm(worker, identify("/dev/kvm"));
    if (publish(worker, &err) != 0) {
        log_event(LOG_ERROR, "host.facts_failed", "message", err.message, NULL);
        worker->facts.unpublished = true;
    }
    (void)pthread_mutex_unlock(&worker->facts.looking);
    worker_notify(worker, "host");
}

int host_facts_refresh(struct worker *worker, struct error *err)
{
    (void)pthread_mutex_lock(&worker->facts.looking);
    const bool vmms = look_at_vmms(worker);
    const bool cgroup = look_at_cgroup(worker);
    const bool kvm = look_at_kvm(worker);
    const bool staging = look_at_staging(worker);
    const bool changed = vmms || cgroup || kvm || staging || worker->facts.unpublished;
    int result = changed ? publish(worker, err) : 0;
    worker->facts.unpublished = result != 0;
    (void)pthread_mutex_unlock(&worker->facts.looking);
    if (changed) {
        worker_notify(worker, "host");
    }
    return result;
}
