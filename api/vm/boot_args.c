#include "api/vm/boot_args.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/kernel_args.h"
#include "db/images.h"

#include <stdlib.h>
#include <string.h>

static void add_fault(void *ctx, const char *sentence)
{
    struct call *call = ctx;
    spec_faults_add(&call->faults, "body", "/boot_args", "%s", sentence);
}

/* One fault tells of both VMMs. */
static int compose(struct call *call, struct kernel_args *args, const char *vmm, struct error *err)
{
    static const struct kernel_args_vmm *const vmms[] = {&kernel_args_firecracker, &kernel_args_qemu};
    for (size_t i = 0; i < ARRAY_LEN(vmms); i++) {
        AUTO_FREE char *line = NULL;
        args->vmm = vmms[i];
        if (strcmp(vmm, "auto") != 0 && strcmp(vmm, vmms[i]->name) != 0) {
            continue;
        }
        if (kernel_args_compose(args, &line, err) != 0) {
            if (err->code == ERR_INVALID_CONFIG) {
                add_fault(call, err->message);
            }
            return -1;
        }
    }
    return 0;
}

static int check(struct call *call, const struct vm_row *row, const json_t *manifest, struct error *err)
{
    const char *image_args = json_get_string(manifest, "boot_args");
    /* The worker finds the host's resolvers when it starts the VM: there has to be room for the longest. */
    static const uint32_t longest_dns[KERNEL_ARGS_DNS_MAX] = {UINT32_MAX, UINT32_MAX};
    const struct network_settings settings = api_network(call->api);
    struct kernel_args args = {
        .dns = longest_dns,
        .dns_count = KERNEL_ARGS_DNS_MAX,
        .image = image_args != NULL ? image_args : "",
        .own = row->config.boot_args,
        .id = row->id,
        .root_is_read_only = json_get_bool(manifest, "rootfs_is_read_only", false),
        .has_address = row->interface_count > 0,
        .address = row->interface_count > 0 ? row->interfaces[0].address : 0,
        .settings = &settings,
        .device_count = KERNEL_ARGS_OWN_DEVICES + row->interface_count,
    };
    size_t before = call->faults.count;
    kernel_args_reserved(row->config.boot_args, args.has_address, args.root_is_read_only, add_fault, call);
    if (compose(call, &args, vm_vmm_name(row->config.vmm), err) != 0) {
        return -1;
    }
    if (call->faults.count > before) {
        return error_set(err, ERR_INVALID_CONFIG, "boot_args have arguments that are the daemon's to give");
    }
    return 0;
}

int vm_check_boot_args(struct call *call, const struct vm_row *row, struct error *err)
{
    AUTO_IMAGE_ROW image = {0};
    AUTO_JSON *manifest = NULL;
    bool found = false;
    if (images_get(call->api->db, row->config.image, &image, &found, err) != 0) {
        return -1;
    }
    if (!found) {
        return 0; /* the start of the VM tells */
    }
    return json_parse(image.manifest, strlen(image.manifest), &manifest, err) != 0 ? -1 : check(call, row, manifest, err);
}
