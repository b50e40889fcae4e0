#include "worker/host_facts.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "db/facts.h"
#include "worker/context.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

enum { KVM_PROBE_MS = 1000 };

static void probe_vmms(struct worker *worker)
{
    const char *const names[VMM_KIND_COUNT_] = {[VMM_FIRECRACKER] = worker->config->vmm.firecracker,
                                                [VMM_QEMU] = worker->config->vmm.qemu};
    const char *path = getenv("PATH");
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        struct vmm_fact *fact = &worker->facts.vmms[i];
        struct error err = {0};
        fact->available =
            vmm_find_binary(names[i], path != NULL ? path : "/usr/local/bin:/usr/bin:/bin", fact->path,
                            sizeof fact->path, &err) == 0 &&
            vmm_drivers[i].version(fact->path, fact->version, sizeof fact->version, &err) == 0;
        if (!fact->available) {
            (void)snprintf(fact->reason, sizeof fact->reason, "%.255s", err.message);
        }
    }
}

static json_t *vmms_json(const struct host_facts *facts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        const struct vmm_fact *fact = &facts->vmms[i];
        json_t *item = json_pack("{s:s, s:b}", "name", vmm_drivers[i].name, "available", fact->available);
        if (fact->available) {
            (void)json_object_set_new(item, "path", json_string(fact->path));
            (void)json_object_set_new(item, "version", json_string(fact->version));
        } else {
            (void)json_object_set_new(item, "reason", json_string(fact->reason));
        }
        (void)json_array_append_new(list, item);
    }
    return list;
}

static json_t *kvm_json(const struct host_facts *facts)
{
    if (!facts->kvm_known) {
        return json_pack("{s:b, s:n, s:s}", "present", 0, "usable", "reason", "being measured");
    }
    return json_pack("{s:b, s:b, s:s, s:I}", "present", facts->kvm.present, "usable", facts->kvm.usable, "reason",
                     facts->kvm.reason, "loop_us", (json_int_t)facts->kvm.loop_us);
}

static json_t *cgroup_json(const struct cgroup_support *cgroup)
{
    const struct {
        bool available;
        const char *name;
    } controllers[] = {{cgroup->memory, "memory"}, {cgroup->cpu, "cpu"}, {cgroup->pids, "pids"}};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        if (controllers[i].available) {
            (void)json_array_append_new(list, json_string(controllers[i].name));
        }
    }
    json_t *item = json_pack("{s:i, s:o}", "version", cgroup->mounted ? 2 : 0, "controllers", list);
    if (cgroup->mounted) {
        (void)json_object_set_new(item, "mount", json_string(cgroup->mount));
    }
    return item;
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
    AUTO_JSON *host = json_pack("{s:s, s:s, s:s, s:i, s:I}", "kernel", uts.release, "arch", uts.machine, "boot_id",
                                worker->boot_id, "cpus", get_nprocs(), "memory_mib", (json_int_t)mib);
    if (host_facts_choose(&worker->facts, "auto", &choice, &known, &why) != 0) {
        (void)json_object_set_new(host, "auto", json_pack("{s:n, s:n, s:s}", "driver", "accelerator", "reason", why.message));
    } else if (known) {
        (void)json_object_set_new(host, "auto", json_pack("{s:s, s:s, s:s}", "driver", vmm_drivers[choice.kind].name, "accelerator",
                                  vmm_accel_name(choice.accel), "reason", choice.reason));
    }
    (void)pthread_mutex_lock(&worker->facts.lock);
    (void)json_object_set_new(host, "kvm", kvm_json(&worker->facts));
    (void)json_object_set_new(host, "vmms", vmms_json(&worker->facts));
    (void)json_object_set_new(host, "cgroup", cgroup_json(&worker->facts.cgroup));
    (void)pthread_mutex_unlock(&worker->facts.lock);
    AUTO_FREE char *text = json_text(host);
    if (text == NULL) {
        return error_oom(err);
    }
    return facts_set(worker->db, "host", text, NULL, err);
}

int host_facts_probe(struct worker *worker, struct error *err)
{
    (void)pthread_mutex_lock(&worker->facts.lock);
    probe_vmms(worker);
    int result = cgroup_probe(&worker->facts.cgroup, err);
    (void)pthread_mutex_unlock(&worker->facts.lock);
    return result != 0 ? -1 : publish(worker, err);
}

void host_facts_probe_kvm(struct worker *worker)
{
    struct kvm_probe probe;
    struct error err;
    kvm_probe(KVM_PROBE_MS, &probe);
    (void)pthread_mutex_lock(&worker->facts.lock);
    worker->facts.kvm = probe;
    worker->facts.kvm_known = true;
    (void)pthread_mutex_unlock(&worker->facts.lock);
    if (publish(worker, &err) != 0) {
        log_event(LOG_ERROR, "host.facts_failed", "message", err.message, NULL);
    }
    worker_notify(worker, "host");
}

static int choose_firecracker(const struct host_facts *facts, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *fact = &facts->vmms[VMM_FIRECRACKER];
    if (!fact->available) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "Firecracker is not available: %s", fact->reason);
    }
    if (!facts->kvm.present) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "Firecracker needs KVM: %s", facts->kvm.reason);
    }
    ret->kind = VMM_FIRECRACKER;
    ret->accel = VMM_ACCEL_KVM;
    return 0;
}

static int choose_qemu(const struct host_facts *facts, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *fact = &facts->vmms[VMM_QEMU];
    if (!fact->available) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "QEMU is not available: %s", fact->reason);
    }
    ret->kind = VMM_QEMU;
    ret->accel = facts->kvm.usable ? VMM_ACCEL_KVM : VMM_ACCEL_TCG;
    return 0;
}

static int choose(const struct host_facts *facts, const char *requested, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *firecracker = &facts->vmms[VMM_FIRECRACKER];
    if (strcmp(requested, "firecracker") == 0) {
        (void)snprintf(ret->reason, sizeof ret->reason, "asked for by name; %s", facts->kvm.reason);
        return choose_firecracker(facts, ret, err);
    }
    if (strcmp(requested, "qemu") == 0) {
        (void)snprintf(ret->reason, sizeof ret->reason, "asked for by name; %s", facts->kvm.reason);
        return choose_qemu(facts, ret, err);
    }
    if (facts->kvm.usable && firecracker->available) {
        (void)snprintf(ret->reason, sizeof ret->reason, "auto: %s, and Firecracker is there", facts->kvm.reason);
        return choose_firecracker(facts, ret, err);
    }
    (void)snprintf(ret->reason, sizeof ret->reason, "auto: %s",
                   facts->kvm.usable ? firecracker->reason : facts->kvm.reason);
    return choose_qemu(facts, ret, err);
}

int host_facts_choose(struct host_facts *facts, const char *requested, struct vmm_choice *ret, bool *ret_known,
                      struct error *err)
{
    int result = 0;
    (void)pthread_mutex_lock(&facts->lock);
    *ret_known = facts->kvm_known;
    if (facts->kvm_known) {
        result = choose(facts, requested, ret, err);
        if (result == 0) {
            const struct vmm_fact *fact = &facts->vmms[ret->kind];
            memcpy(ret->path, fact->path, sizeof ret->path);
            memcpy(ret->version, fact->version, sizeof ret->version);
        }
    }
    (void)pthread_mutex_unlock(&facts->lock);
    return result;
}
