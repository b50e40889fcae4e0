#include "worker/host_facts.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
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

/* With the lock of looking: which file it is costs a few stat(2); its version is only asked for when that is another one than before. */
static bool look_at_vmm(struct worker *worker, enum vmm_kind kind, const char *name)
{
    struct vmm_fact *fact = &worker->facts.vmms[kind];
    struct vmm_fact now = {.available = false};
    struct error err = {0};
    const bool found = vmm_find_binary(name, search_path(), now.path, sizeof now.path, &err) == 0;
    now.identity = found ? identify(now.path) : (struct file_identity){.ino = 0};
    if (found && fact->identity.ino != 0 && strcmp(fact->path, now.path) == 0 && is_same_file(&fact->identity, &now.identity)) {
        return false;
    }
    now.available = found && vmm_drivers[kind].version(now.path, now.version, sizeof now.version, &err) == 0;
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
        log_event(LOG_INFO, "host.vmm_found", "vmm", vmm_drivers[kind].name, "path", now.path, "version", now.version, NULL);
    } else {
        log_event(LOG_INFO, "host.vmm_missing", "vmm", vmm_drivers[kind].name, "reason", now.reason, NULL);
    }
    return true;
}

static bool look_at_vmms(struct worker *worker)
{
    const char *const names[VMM_KIND_COUNT_] = {[VMM_FIRECRACKER] = worker->config->vmm.firecracker,
                                                [VMM_QEMU] = worker->config->vmm.qemu};
    bool changed = false;
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        changed = look_at_vmm(worker, (enum vmm_kind)i, names[i]) || changed;
    }
    return changed;
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
        json_build_add(&list, json_pack("{s:s, s:b, s:s?, s:s?, s:s?}", "name", vmm_drivers[i].name, "available",
                                                    fact->available, "path", fact->available ? fact->path : NULL, "version",
                                                    fact->available ? fact->version : NULL, "reason",
                                                    fact->available ? NULL : fact->reason));
    }
    return json_build_take(&list);
}

static json_t *kvm_json(const struct host_facts *facts)
{
    if (!facts->kvm_known) {
        return json_pack("{s:b, s:n, s:s, s:n}", "present", 0, "usable", "reason", "being measured", "loop_us");
    }
    return json_pack("{s:b, s:b, s:s, s:I}", "present", facts->kvm.present, "usable", facts->kvm.usable, "reason",
                     facts->kvm.reason, "loop_us", (json_int_t)facts->kvm.loop_us);
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
    return json_pack("{s:i, s:s?, s:o}", "version", cgroup->mounted ? 2 : 0, "mount", cgroup->mounted ? cgroup->mount : NULL,
                     "controllers", json_build_take(&list));
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
    AUTO_JSON_BUILD host = {.value = json_pack("{s:s, s:s, s:s, s:i, s:I}", "kernel", uts.release, "arch", uts.machine, "boot_id",
                                               worker->boot_id, "cpus", get_nprocs(), "memory_mib", (json_int_t)mib)};
    if (host_facts_choose(&worker->facts, "auto", &choice, &known, &why) != 0) {
        json_build_put(&host, "auto", json_pack("{s:n, s:n, s:s}", "driver", "accelerator", "reason", why.message));
    } else if (known) {
        json_build_put(&host, "auto", json_pack("{s:s, s:s, s:s}", "driver", vmm_drivers[choice.kind].name, "accelerator",
                                                vmm_accel_name(choice.accel), "reason", choice.reason));
    } else {
        json_build_put(&host, "auto", json_null());
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    json_build_put(&host, "kvm", kvm_json(&worker->facts));
    json_build_put(&host, "vmms", vmms_json(&worker->facts));
    json_build_put(&host, "cgroup", cgroup_json(&worker->facts.cgroup));
    json_build_put(&host, "staging", json_pack("{s:s, s:b, s:I}", "path", worker->stage_root, "in_memory", (int)worker->facts.staging.in_memory, "size_mib",
                                               (json_int_t)worker->facts.staging.size_mib));
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
