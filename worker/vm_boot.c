#include "worker/vm_boot.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"
#include "db/images.h"
#include "host/cgroup.h"
#include "host/console.h"
#include "host/drive.h"
#include "host/store.h"
#include "worker/console_hub.h"

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

static int load_image(struct vm_work *work, struct boot_image *ret, struct error *err)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    const char *root = work->worker->store_root;
    if (images_get(work->worker->db, work->row.image, &row, &found, err) != 0) {
        return -1;
    }
    if (!found || row.state != IMAGE_READY || row.kernel_sha256 == NULL || row.rootfs_sha256 == NULL) {
        return error_set(err, ERR_IMAGE_NOT_READY, "the image '%s' is not ready", work->row.image);
    }
    AUTO_JSON *manifest = NULL;
    if (json_parse(row.manifest, strlen(row.manifest), &manifest, err) != 0) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    if (!store_path(root, row.kernel_sha256, ret->kernel, sizeof ret->kernel) ||
        !store_path(root, row.rootfs_sha256, ret->rootfs, sizeof ret->rootfs) ||
        (row.initrd_sha256 != NULL && !store_path(root, row.initrd_sha256, ret->initrd, sizeof ret->initrd))) {
        return error_set(err, ERR_DATABASE, "the image '%s' has a damaged digest", work->row.image);
    }
    ret->rootfs_is_read_only = json_get_bool(manifest, "rootfs_is_read_only", false);
    const char *args = json_get_string(manifest, "boot_args");
    (void)snprintf(ret->boot_args, sizeof ret->boot_args, "%s", args != NULL ? args : "");
    return 0;
}

int vm_make_run_dir(struct vm_work *work, struct error *err)
{
    /* The console goes on over reboots: who follows it sees the next boot. */
    static const char *const leftovers[] = {"api.sock", "boot", "vmm.json", "vmm.log"};
    char path[256];
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

static void note_drive(struct vm_work *work, const struct boot_image *image)
{
    json_t *drive = json_pack("{s:s, s:b, s:b, s:b}", "drive_id", "rootfs", "is_root_device", 1, "is_read_only",
                              image->rootfs_is_read_only, "ephemeral", !image->rootfs_is_read_only);
    (void)json_object_set_new(work->old, "drives", json_pack("[o]", drive));
}

int vm_stage_drives(struct vm_work *work, struct error *err)
{
    struct boot_image image = {.rootfs_is_read_only = false};
    char dir[320];
    char target[340];
    enum drive_method method;
    if (load_image(work, &image, err) != 0) {
        return -1;
    }
    note_drive(work, &image);
    if (image.rootfs_is_read_only) {
        return 0;
    }
    vm_stage_dir(work, dir, sizeof dir);
    (void)snprintf(target, sizeof target, "%s/rootfs", dir);
    if (make_dir(work->worker->stage_root, err) != 0 || vm_remove_dir(dir, err) != 0 || make_dir(dir, err) != 0) {
        return -1;
    }
    return drive_stage(image.rootfs, target, &method, err);
}

/* With a prefix of 128 all goes by the gateway, also to other guests: there the policies decide. */
static void add_ipv6(struct strbuf *args, const struct network_settings *settings, uint32_t address)
{
    char text[IP_TEXT_MAX];
    char gateway[IP_TEXT_MAX];
    if (network_has_ipv6(settings)) {
        const struct ip_addr address6 = network_address6(settings, address);
        strbuf_addf(args, " smartvm.ip6=%s/128,%s", ip_addr_format(&address6, text), ip_addr_format(&settings->gateway6, gateway));
    }
}

/* VMM's arguments, image's arguments, address, id, and last the VM's own: the last one counts for the kernel. */
static char *boot_arguments(struct vm_work *work, const struct boot_image *image, struct error *err)
{
    AUTO_STRBUF args = STRBUF_INIT;
    strbuf_addf(&args, "%s", vmm_drivers[work->choice.kind].extra_boot_args);
    if (image->boot_args[0] != '\0') {
        strbuf_addf(&args, " %s", image->boot_args);
    }
    if (work->row.interface_count > 0) {
        char address[IPV4_TEXT_MAX];
        char gateway[IPV4_TEXT_MAX];
        char mask[IPV4_TEXT_MAX];
        struct network_settings settings = worker_network(work->worker);
        strbuf_addf(&args, " ip=%s::%s:%s::eth0:off", ipv4_format(work->row.interfaces[0].address, address),
                    ipv4_format(settings.gateway, gateway),
                    ipv4_format(ipv4_mask(settings.subnet.prefix), mask));
        add_ipv6(&args, &settings, work->row.interfaces[0].address);
    }
    strbuf_addf(&args, " smartvm.id=%s", work->row.id);
    if (work->row.boot_args[0] != '\0') {
        strbuf_addf(&args, " %s", work->row.boot_args);
    }
    if (args.len >= LIMIT_BOOT_ARGS_BYTES) {
        (void)error_set(err, ERR_INVALID_CONFIG, "the kernel's command line has %zu bytes, more than %d", args.len,
                        LIMIT_BOOT_ARGS_BYTES - 1);
        return NULL;
    }
    char *text = strbuf_take(&args);
    if (text == NULL) {
        (void)error_oom(err);
    }
    return text;
}

/* Everything a driver needs to know. The strings are owned by *image, *stage and *args. */
struct boot_spec {
    struct boot_image image;
    char stage[340];
    char *args;
    struct vmm_drive drive;
    struct vmm_interface interfaces[LIMIT_INTERFACES];
    struct vmm_spec vmm;
};

static void boot_spec_free(struct boot_spec *spec)
{
    free(spec->args);
}

static int boot_spec_fill(struct vm_work *work, struct boot_spec *spec, struct error *err)
{
    char dir[320];
    memset(spec, 0, sizeof *spec);
    if (load_image(work, &spec->image, err) != 0) {
        return -1;
    }
    spec->args = boot_arguments(work, &spec->image, err);
    if (spec->args == NULL) {
        return -1;
    }
    vm_stage_dir(work, dir, sizeof dir);
    (void)snprintf(spec->stage, sizeof spec->stage, "%s/rootfs", dir);
    spec->drive = (struct vmm_drive){.drive_id = "rootfs",
                                     .path = spec->image.rootfs_is_read_only ? spec->image.rootfs : spec->stage,
                                     .is_root_device = true,
                                     .is_read_only = spec->image.rootfs_is_read_only};
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        spec->interfaces[i] = (struct vmm_interface){interface->iface_id, interface->tap, interface->mac};
    }
    spec->vmm = (struct vmm_spec){
        .id = work->row.id,
        .dir = work->dir,
        .binary = work->choice.path,
        .accel = work->choice.accel,
        .kernel = spec->image.kernel,
        .initrd = spec->image.initrd[0] != '\0' ? spec->image.initrd : NULL,
        .boot_args = spec->args,
        .vcpu_count = work->row.vcpu_count,
        .mem_size_mib = work->row.mem_size_mib,
        .drives = &spec->drive,
        .drive_count = 1,
        .interfaces = spec->interfaces,
        .interface_count = work->row.interface_count,
    };
    return 0;
}

/*
 * The guest's memory, what the VMM needs itself, the kernel's tables for both (a 64th), and the writable drive: on a tmpfs, what the guest writes to it is
 * memory of the VMM's cgroup.
 */
static struct cgroup_limits limits_of(const struct vm_work *work, const struct boot_image *image)
{
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    struct stat st = {.st_size = 0};
    uint64_t mib = (uint64_t)work->row.mem_size_mib + work->row.mem_size_mib / 64 + driver->overhead_mib[work->choice.accel];
    if (!image->rootfs_is_read_only) {
        (void)stat(image->rootfs, &st);
    }
    uint64_t drive_mib = ((uint64_t)st.st_size + (1U << 20) - 1) >> 20;
    return (struct cgroup_limits){.memory_max = (mib + drive_mib) << 20, .pids_max = work->row.vcpu_count + driver->threads};
}

int vm_prepare_vmm(struct vm_work *work, struct error *err)
{
    __attribute__((cleanup(boot_spec_free))) struct boot_spec spec;
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    struct vm_boot_record record = {
        .boot = work->row.boot_wanted, .kind = work->choice.kind, .accel = work->choice.accel};
    memcpy(record.version, work->choice.version, sizeof record.version);
    if (boot_spec_fill(work, &spec, err) != 0 ||
        (driver->prepare != NULL && driver->prepare(&spec.vmm, err) != 0)) {
        return -1;
    }
    record.limits = limits_of(work, &spec.image);
    return vm_boot_record_write(work->dir, &record, err);
}

static int spawn(struct vm_work *work, char **argv, struct process *ret, struct error *err)
{
    AUTO_CLOSE int in = -1;
    AUTO_CLOSE int out = -1;
    AUTO_CLOSE int vmm = -1;
    AUTO_CLOSE int cgroup = -1;
    if (console_open_vmm_ends(work->dir, &in, &out, &vmm, err) != 0 ||
        cgroup_ensure(work->worker->mark, work->row.id, &cgroup, err) != 0) {
        return -1;
    }
    const struct process_spec spec = {.path = work->choice.path,
                                      .argv = (const char *const *)argv,
                                      .cwd = work->dir,
                                      .stdin_fd = in,
                                      .stdout_fd = out,
                                      .stderr_fd = vmm,
                                      .cgroup_fd = cgroup,
                                      .extra_fd = -1};
    return process_spawn(&spec, ret, err);
}

int vm_spawn(struct vm_work *work, struct error *err)
{
    __attribute__((cleanup(boot_spec_free))) struct boot_spec spec;
    struct process process;
    char **argv = NULL;
    if (boot_spec_fill(work, &spec, err) != 0 || vmm_drivers[work->choice.kind].command(&spec.vmm, &argv, err) != 0) {
        return -1;
    }
    int result = spawn(work, argv, &process, err);
    vmm_argv_free(argv);
    if (result != 0) {
        return -1;
    }
    work->runtime->process_boot = work->row.boot_wanted;
    return runtime_set_process(work->worker, work->runtime, &process, err);
}
