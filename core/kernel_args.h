/*
 * The kernel's command line, put together in one place: what the VMM needs, what the image says, what the daemon gives (address, id, root device), what
 * the client says. Pure functions.
 *
 * Arguments are read as the kernel reads them (lib/cmdline.c, next_arg(); kernel/params.c, parse_args()): blanks separate them, except within double quotes,
 * and an argument that is just `--` ends them: what follows goes to the guest's init. So what the daemon gives stands before it, and the texts of image
 * and client are taken apart at their own `--`:
 *
 *   <VMM> <image> ip=… smartvm.ip6=… smartvm.id=… <client> root=… [-- <image's for init> <client's for init>]
 *
 * To the kernel the last of two counts, so the client's arguments are stronger than those of the image and of the VMM (console=, reboot=, init=, …).
 * Some are the daemon's alone (kernel_args_reserved()): an image's are left out, a client's are refused by the API; nothing overrides an address in silence.
 */
#ifndef SMARTVM_CORE_KERNEL_ARGS_H
#define SMARTVM_CORE_KERNEL_ARGS_H

#include "core/network_settings.h"
#include "core/strbuf.h"

#include <stddef.h>

struct kernel_args_vmm {
    const char *name;  /* "firecracker": the value of `vmm` in the API */
    const char *needs; /* what every kernel under this VMM needs; put first, so that others can override it */
    /*
     * It adds the root device and each device's address itself, before the first ` -- ` in the text, also where that stands within quotes
     * (linux-loader, Cmdline::try_from()).
     */
    bool adds_root;
    size_t added_bytes;  /* at most, of what the VMM's driver or the VMM itself adds, but for the devices */
    size_t device_bytes; /* at most, for each device */
};

enum { KERNEL_ARGS_OWN_DEVICES = 2 }; /* that every VM has: the root drive and the entropy device */

extern const struct kernel_args_vmm kernel_args_firecracker;
extern const struct kernel_args_vmm kernel_args_qemu;

struct kernel_args {
    const struct kernel_args_vmm *vmm;
    const char *image; /* the image's boot_args */
    const char *own;   /* the VM's */
    const char *id;    /* of the VM */
    bool root_is_read_only;
    bool has_address;
    uint32_t address; /* of the VM's first interface, in host order */
    const struct network_settings *settings;
    const uint32_t *dns; /* resolvers for the guest, in host order */
    size_t dns_count;
    size_t device_count; /* KERNEL_ARGS_OWN_DEVICES and the interfaces */
};

/*
 * " ip=<address>::<gateway>:<mask>::eth0:off[:<dns>[:<dns>]]", and " smartvm.ip6=<address>/128,<gateway>" where guests have IPv6 (the fields of ip= are
 * those of Documentation/admin-guide/nfs/nfsroot.rst, which has two for resolvers).
 */
enum { KERNEL_ARGS_DNS_MAX = 2 };
void kernel_args_network(struct strbuf *b, const struct network_settings *settings, uint32_t address, const uint32_t *dns, size_t dns_count);

/*
 * The whole line but for what the VMM adds. INVALID_CONFIG: a quote is not closed; ` -- ` stands within quotes where the VMM would take it for the end;
 * with all that is added it has more bytes than the kernel reads (LIMIT_BOOT_ARGS_BYTES), which would cut it off. *ret owned by the caller.
 */
int kernel_args_compose(const struct kernel_args *args, char **ret, struct error *err);

/* Calls tell() for each argument before `--` that is the daemon's to give, with a sentence that begins with its name. */
typedef void kernel_args_tell(void *ctx, const char *sentence);
void kernel_args_reserved(const char *text, bool has_address, bool root_is_read_only, kernel_args_tell *tell, void *ctx);

/* Is every quote closed? */
bool kernel_args_quotes_match(const char *text);

#endif
