#include "worker/vm/boot.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/vm_memory.h"
#include "worker/border/wanted.h"
#include "worker/vm/row_copy.h"
#include "host/link/resolver.h"
#include "host/process/block_device.h"
#include "host/process/cgroup.h"
#include "host/process/shim.h"
#include "host/store/drive.h"
#include "host/store/store.h"
#include "host/vmm/console.h"
#include "shim/protocol.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/stage.h"
#include "worker/vm/uids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STORE_PATH_MAX = 400 };

/* A bootable image, as paths into the store. */
struct boot_image {
    char kernel[STORE_PATH_MAX], rootfs[STORE_PATH_MAX], initrd[STORE_PATH_MAX]; /* initrd "" for none */
    bool rootfs_is_read_only;
    char boot_args[LIMIT_BOOT_ARGS_BYTES];
};

void vm_stage_dir(const struct vm_work *work, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s/%s", work->worker->stage_root, work->row.id);
}

int vm_remove_dir(const char *path, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : error_sys(err, ERR_SYSTEM, errno, "%s could not be opened", path);
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT) {
            return error_sys(err, ERR_SYSTEM, errno, "%s/%s could not be removed", path, entry->d_name);
        }
    }
    if (rmdir(path) != 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", path);
    }
    return 0;
}

static int make_dir(const char *path, struct error *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", path);
    }
    return 0;
}

/* Everything that a boot is made of: read once, and handed on from one operation to the next. */
struct boot_plan {
    struct boot_image image;
    char stage[340];
    char *args;
    struct vmm_drive drive;
    struct vmm_jail jail;
    struct vmm_interface interfaces[LIMIT_INTERFACES];
    struct vmm_spec vmm; /* whose strings are those of the plan, of the row and of the choice */
};

void boot_plan_free(struct boot_plan *boot)
{
    if (boot != NULL) {
        free(boot->args);
        free(boot);
    }
}

/* What is stored of it and of the VM is kept in the runtime directory. */
static int load_image(struct vm_work *work, struct boot_image *ret, struct error *err)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    const char *root = work->worker->store_root;
    if (border_image_get(work->worker->border, work->row.config.image, &row, &found, err) != 0) {
        return -1;
    }
    if (!found || row.state != IMAGE_READY || row.kernel_sha256 == NULL || row.rootfs_sha256 == NULL) {
        return error_set(err, ERR_IMAGE_NOT_READY, "the image '%s' is not ready", work->row.config.image);
    }
    AUTO_JSON *manifest = NULL;
    if (json_parse(row.manifest, strlen(row.manifest), &manifest, err) != 0) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    if (!store_path(root, row.kernel_sha256, ret->kernel, sizeof ret->kernel) || !store_path(root, row.rootfs_sha256, ret->rootfs, sizeof ret->rootfs) ||
        (row.initrd_sha256 != NULL && !store_path(root, row.initrd_sha256, ret->initrd, sizeof ret->initrd))) {
        return error_set(err, ERR_DATABASE, "the image '%s' has a damaged digest", work->row.config.image);
    }
    if (vm_row_copy_write(work->dir, &work->row, &row, err) != 0) {
        return -1;
    }
    ret->rootfs_is_read_only = json_get_bool(manifest, "rootfs_is_read_only", false);
    const char *args = json_get_string(manifest, "boot_args");
    (void)snprintf(ret->boot_args, sizeof ret->boot_args, "%s", args != NULL ? args : "");
    return 0;
}

int vm_make_run_dir(struct vm_work *work, struct error *err)
{
    /* The console goes on over reboots: who follows it sees the next boot. */
    static const char *const leftovers[] = {"api.sock", "boot", "guest", "network", "vmm.json", "vmm.log", SHIM_EXIT};
    char path[256];
    struct vm_boot none = {.is_known = false};
    runtimes_set_boot(work->worker->runtimes, work->runtime, &none);
    if (make_dir(work->dir, err) != 0 || console_make_fifos(work->dir, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(leftovers); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", work->dir, leftovers[i]);
        if (unlink(path) != 0 && errno != ENOENT) {
            return error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", path);
        }
    }
    return console_hub_add(work->worker->consoles, work->row.uid, work->row.id, work->dir, err);
}

json_t *vm_boot_drives_json(const struct boot_plan *boot)
{
    const bool is_read_only = boot->image.rootfs_is_read_only;
    return json_pack("[{s:s, s:b, s:b, s:b}]", "drive_id", "rootfs", "is_root_device", 1, "is_read_only", is_read_only, "ephemeral", !is_read_only);
}

static int begin_plan(struct vm_work *work, struct error *err)
{
    struct boot_plan *boot = calloc(1, sizeof *boot);
    if (boot == NULL) {
        return error_oom(err);
    }
    boot_plan_free(work->boot);
    work->boot = NULL;
    if (load_image(work, &boot->image, err) != 0) {
        boot_plan_free(boot);
        return -1;
    }
    work->boot = boot;
    return 0;
}

int vm_take_uid(struct vm_work *work, struct error *err)
{
    uid_t uid = 0;
    return uids_take(work->worker->uids, work->row.id, &uid, err);
}

/* It is the VMM's to write; nobody else comes to it, as its directory is root's. */
static int give_drive(struct vm_work *work, const char *path, struct error *err)
{
    const uid_t owner = vm_owner(work);
    return lchown(path, owner, owner) == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot give %s to uid %u", path, (unsigned)owner);
}

/* One that is there has its room. */
static int stage_drive(const struct vm_work *work, struct error *err)
{
    const struct boot_plan *boot = work->boot;
    struct stat st;
    enum drive_method method;
    if (lstat(boot->stage, &st) == 0) {
        return drive_stage(boot->image.rootfs, boot->stage, &method, err);
    }
    if (stat(boot->image.rootfs, &st) != 0) {
        return error_sys(err, ERR_ROOTFS_CLONE_FAILED, errno, "cannot look at %s", boot->image.rootfs);
    }
    if (stage_reserve(work->worker->stage_root, (uint64_t)st.st_size, err) != 0) {
        return -1;
    }
    int result = drive_stage(boot->image.rootfs, boot->stage, &method, err);
    stage_release((uint64_t)st.st_size);
    return result;
}

/* A stop unstages: so what is there, and whole, is the drive of a reboot, and goes on. After the host's own reboot nobody knows what is in it. */
int vm_stage_drives(struct vm_work *work, struct error *err)
{
    char dir[320];
    if (begin_plan(work, err) != 0) {
        return -1;
    }
    struct boot_plan *boot = work->boot;
    vm_stage_dir(work, dir, sizeof dir);
    (void)snprintf(boot->stage, sizeof boot->stage, "%s/rootfs", dir);
    if (boot->image.rootfs_is_read_only) {
        return 0;
    }
    if (make_dir(work->worker->stage_root, err) != 0 || (work->observed.host_rebooted && vm_remove_dir(dir, err) != 0) || make_dir(dir, err) != 0) {
        return -1;
    }
    return stage_drive(work, err) == 0 ? give_drive(work, boot->stage, err) : -1;
}

static char *boot_arguments(struct vm_work *work, const struct boot_image *image, struct error *err)
{
    const struct network_settings settings = worker_network(work->worker);
    uint32_t dns[RESOLVERS_MAX];
    const struct kernel_args args = {
        .dns = dns,
        .dns_count = resolvers_of_host(dns),
        .vmm = vmm_drivers[work->choice.kind].args,
        .image = image->boot_args,
        .own = work->row.config.boot_args,
        .id = work->row.id,
        .root_is_read_only = image->rootfs_is_read_only,
        .has_address = work->row.interface_count > 0,
        .address = work->row.interface_count > 0 ? work->row.interfaces[0].address : 0,
        .settings = &settings,
        .device_count = KERNEL_ARGS_OWN_DEVICES + work->row.interface_count,
    };
    char *text = NULL;
    return kernel_args_compose(&args, &text, err) == 0 ? text : NULL;
}

/* After its drives are staged and its interfaces have their addresses. */
static int complete_plan(struct vm_work *work, struct error *err)
{
    struct boot_plan *boot = work->boot;
    if (boot == NULL) {
        return error_set(err, ERR_INTERNAL, "the drives of the boot are not staged");
    }
    free(boot->args);
    boot->args = boot_arguments(work, &boot->image, err);
    if (boot->args == NULL) {
        return -1;
    }
    boot->drive = (struct vmm_drive){.drive_id = "rootfs",
                                     .path = boot->image.rootfs_is_read_only ? boot->image.rootfs : boot->stage,
                                     .is_root_device = true,
                                     .is_read_only = boot->image.rootfs_is_read_only};
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        boot->interfaces[i] = (struct vmm_interface){interface->iface_id, interface->tap, interface->mac};
    }
    boot->jail = (struct vmm_jail){.jailer = work->choice.jailer, .place = work->worker->jail_place, .uid = vm_owner(work)};
    boot->vmm = (struct vmm_spec){
        .jail = work->choice.jailed ? &boot->jail : NULL,
        .id = work->row.id,
        .dir = work->dir,
        .binary = work->choice.path,
        .accel = work->choice.accel,
        .kernel = boot->image.kernel,
        .initrd = boot->image.initrd[0] != '\0' ? boot->image.initrd : NULL,
        .boot_args = boot->args,
        .vcpu_count = work->row.config.machine.vcpu_count,
        .mem_size_mib = work->row.config.machine.mem_size_mib,
        .drives = &boot->drive,
        .drive_count = 1,
        .interfaces = boot->interfaces,
        .interface_count = work->row.interface_count,
    };
    return 0;
}

/* With the writable drive: on a tmpfs, what the guest writes to it is memory of the VMM's cgroup. */
static struct cgroup_limits limits_of(const struct vm_work *work, const struct boot_image *image)
{
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    struct stat st = {.st_size = 0};
    const uint64_t mib = vm_memory_mib(work->row.config.machine.mem_size_mib, driver->overhead_mib[work->choice.accel]);
    if (!image->rootfs_is_read_only) {
        (void)stat(image->rootfs, &st);
    }
    return (struct cgroup_limits){.memory_max = (mib + vm_drive_mib((uint64_t)st.st_size)) << 20,
                                  .pids_max = work->row.config.machine.vcpu_count + driver->threads,
                                  .io_device = block_device_of(work->boot->drive.path)};
}

static int64_t console_end(const char *dir)
{
    char path[256];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/console.log", dir);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* From now on it is known, of this boot. */
static int note_boot(struct vm_work *work, const struct vm_boot_record *record, const char *network, struct error *err)
{
    struct vm_boot boot = {.is_known = true, .record = *record, .network = strdup(network), .config = strdup(work->row.config_text)};
    if (boot.network == NULL || boot.config == NULL) {
        vm_boot_free(&boot);
        return error_oom(err);
    }
    runtimes_set_boot(work->worker->runtimes, work->runtime, &boot);
    return 0;
}

int vm_prepare_vmm(struct vm_work *work, struct error *err)
{
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    struct vm_boot_record record = {.boot = work->row.boot_wanted, .kind = work->choice.kind, .accel = work->choice.accel};
    char network[VM_NETWORK_ARGUMENTS_MAX];
    memcpy(record.version, work->choice.version, sizeof record.version);
    record.uid = vm_owner(work);
    if (work->choice.jailed && record.uid == 0) {
        return error_set(err, ERR_INTERNAL, "the VMM has no uid of its own");
    }
    if (complete_plan(work, err) != 0 || (driver->prepare != NULL && driver->prepare(&work->boot->vmm, err) != 0)) {
        return -1;
    }
    record.limits = limits_of(work, &work->boot->image);
    record.console_begin = console_end(work->dir);
    vm_network_arguments(work, network);
    if (vm_network_record_write(work->dir, network, err) != 0 || vm_boot_record_write(work->dir, &record, err) != 0) {
        return -1;
    }
    return note_boot(work, &record, network, err);
}

static int spawn(struct vm_work *work, char **argv, struct process *ret, struct shim *ret_shim, struct error *err)
{
    AUTO_CLOSE int in = -1;
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int vmm = -1;
    AUTO_CLOSE int cgroup = -1;
    AUTO_CLOSE int shims = -1;
    AUTO_JAIL jail = JAIL_NONE;
    const struct vmm_spec *vmm_spec = &work->boot->vmm;
    if (vmm_spec->jail != NULL && vmm_drivers[work->choice.kind].jail(vmm_spec, &jail, err) != 0) {
        return -1;
    }
    if (console_open_vmm_ends(work->dir, &in, &out, &vmm, err) != 0 || cgroup_ensure(work->worker->mark, work->row.id, &cgroup, err) != 0 ||
        cgroup_ensure_shims(work->worker->mark, &shims, err) != 0) {
        return -1;
    }
    const struct process_spec spec = {.path = argv[0],
                                      .argv = (const char *const *)argv,
                                      .jail = vmm_spec->jail != NULL ? &jail : NULL,
                                      .cwd = vmm_spec->jail != NULL ? "/" : work->dir,
                                      .stdin_fd = in,
                                      .stdout_fd = out,
                                      .stderr_fd = vmm,
                                      .cgroup_fd = cgroup,
                                      .extra_fd = -1};
    const struct shim_spec shim = {.dir = work->dir, .id = work->row.id, .boot = work->row.boot_wanted, .cgroup_fd = shims};
    return shim_spawn(&spec, &shim, ret, ret_shim, err);
}

int vm_spawn(struct vm_work *work, struct error *err)
{
    struct process process;
    struct shim shim = SHIM_NONE;
    char **argv = NULL;
    if (work->boot == NULL || work->boot->args == NULL) {
        return error_set(err, ERR_INTERNAL, "the boot is not prepared");
    }
    if (vmm_drivers[work->choice.kind].command(&work->boot->vmm, &argv, err) != 0) {
        return -1;
    }
    int result = spawn(work, argv, &process, &shim, err);
    vmm_argv_free(argv);
    if (result != 0) {
        return -1;
    }
    work->runtime->process_boot = work->row.boot_wanted;
    result = runtime_set_process(work->worker, work->runtime, &process, err);
    work->runtime->shim = shim;
    return result;
}
