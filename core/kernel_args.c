#include "core/kernel_args.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATOR " -- "

/*
 * reboot=k: the reset by the keyboard controller is the only one that Firecracker has, and it ends the VMM. panic=-1: reboot at once, so a dead guest is an
 * ended VMM. The i8042 has one keyboard that only ever sends Ctrl-Alt-Del; without these three the driver spends tens of milliseconds on looking for more.
 * pci=off: there is no PCI to look for. It adds " root=/dev/vda rw", and for each device " virtio_mmio.device=4K@0xd0000000:5".
 */
const struct kernel_args_vmm kernel_args_firecracker = {
    .name = "firecracker",
    .needs = "console=ttyS0 reboot=k panic=-1 pci=off i8042.noaux i8042.nomux i8042.dumbkbd",
    .adds_root = true,
    .added_bytes = sizeof " root=/dev/vda rw" - 1,
    .device_bytes = sizeof " virtio_mmio.device=4K@0x1234567812345678:123" - 1,
};

/* reboot=t: a triple fault resets any machine. Its driver puts the TSC's rate before the line where the processor is emulated (host/vmm/qemu.c). */
const struct kernel_args_vmm kernel_args_qemu = {
    .name = "qemu",
    .needs = "console=ttyS0 reboot=t panic=-1",
    .adds_root = false,
    .added_bytes = sizeof "tsc_early_khz=4294967295 " - 1,
    .device_bytes = 0,
};

struct argument {
    const char *text; /* as it is written */
    size_t len;
    const char *name; /* without a quote before it */
    size_t name_len;
    bool has_value;
    bool is_open; /* a quote is not closed */
};

/* The kernel's isspace(), of what openapi.yaml lets through; the others so that nothing hides in a line that was stored before. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* next_arg(): *at moves behind it. False at the end. */
static bool next(const char **at, struct argument *ret)
{
    const char *p = *at;
    while (is_blank(*p)) {
        p++;
    }
    if (*p == '\0') {
        return false;
    }
    bool in_quotes = *p == '"';
    *ret = (struct argument){.text = p, .name = p + in_quotes};
    size_t i = in_quotes;
    const char *name_end = NULL;
    for (; p[i] != '\0' && (in_quotes || !is_blank(p[i])); i++) {
        if (p[i] == '=' && name_end == NULL && &p[i] != ret->name) {
            name_end = &p[i];
        }
        in_quotes = in_quotes != (p[i] == '"');
    }
    ret->len = i;
    ret->is_open = in_quotes;
    ret->has_value = name_end != NULL;
    if (name_end == NULL) {
        name_end = p + i - (ret->name != p && i > 1 && p[i - 1] == '"');
    }
    ret->name_len = (size_t)(name_end - ret->name);
    *at = p + i;
    return true;
}

static bool is_named(const struct argument *argument, const char *name)
{
    return argument->name_len == strlen(name) && strncmp(argument->name, name, argument->name_len) == 0;
}

static bool is_separator(const struct argument *argument)
{
    return !argument->has_value && is_named(argument, "--");
}

enum condition { ALWAYS, WITH_ADDRESS, ON_READ_ONLY, ON_WRITABLE };

/* What is the daemon's to give. */
static const struct reserved {
    const char *name;
    bool is_beginning; /* of a name */
    bool has_value;
    enum condition when;
    const char *why;
} reserved_rows[] = {
    {"ip", false, true, WITH_ADDRESS, "the daemon gives the guest its address"},
    {"nfsaddrs", false, true, WITH_ADDRESS, "it means ip=, and the daemon gives the guest its address"},
    {"root", false, true, ALWAYS, "the root device is always the image's root file system, /dev/vda"},
    {"rw", false, false, ON_READ_ONLY, "the root device is read-only, as the image's rootfs_is_read_only is true"},
    {"ro", false, false, ON_WRITABLE, "the root device is writable, as the image's rootfs_is_read_only is false"},
    {"smartvm.", true, true, ALWAYS, "names that begin with smartvm. are the daemon's"},
};

static bool applies(enum condition when, bool has_address, bool root_is_read_only)
{
    switch (when) {
    case WITH_ADDRESS:
        return has_address;
    case ON_READ_ONLY:
        return root_is_read_only;
    case ON_WRITABLE:
        return !root_is_read_only;
    case ALWAYS:
        break;
    }
    return true;
}

static const struct reserved *find_reserved(const struct argument *argument, bool has_address, bool root_is_read_only)
{
    for (size_t i = 0; i < ARRAY_LEN(reserved_rows); i++) {
        const struct reserved *row = &reserved_rows[i];
        size_t len = strlen(row->name);
        bool named = row->is_beginning ? argument->name_len > len && strncmp(argument->name, row->name, len) == 0
                                       : argument->has_value == row->has_value && is_named(argument, row->name);
        if (named && applies(row->when, has_address, root_is_read_only)) {
            return row;
        }
    }
    return NULL;
}

void kernel_args_reserved(const char *text, bool has_address, bool root_is_read_only, kernel_args_tell *tell, void *ctx)
{
    struct argument argument;
    while (next(&text, &argument) && !is_separator(&argument)) {
        const struct reserved *row = find_reserved(&argument, has_address, root_is_read_only);
        if (row != NULL) {
            char sentence[256];
            (void)snprintf(sentence, sizeof sentence, "%.*s%s: %s", argument.name_len < 64 ? (int)argument.name_len : 64, argument.name,
                           argument.has_value ? "=" : "", row->why);
            tell(ctx, sentence);
        }
    }
}

bool kernel_args_quotes_match(const char *text)
{
    struct argument argument;
    while (next(&text, &argument)) {
        if (argument.is_open) {
            return false;
        }
    }
    return true;
}

static void append_text(struct strbuf *b, const char *text, size_t len)
{
    if (b->len > 0) {
        strbuf_add_char(b, ' ');
    }
    strbuf_addf(b, "%.*s", (int)len, text);
}

struct line {
    const struct kernel_args *args;
    struct strbuf *kernel, *init;
};

static int add_text(struct line *line, const char *whose, const char *text, struct error *err)
{
    struct argument argument;
    const struct kernel_args *args = line->args;
    bool for_init = false;
    while (next(&text, &argument)) {
        if (argument.is_open) {
            return error_set(err, ERR_INVALID_CONFIG, "%s boot_args have a quote that is not closed: all that follows would belong to it", whose);
        }
        if (!for_init && is_separator(&argument)) {
            for_init = true;
        } else if (for_init) {
            append_text(line->init, argument.text, argument.len);
        } else if (args->vmm->adds_root && memmem(argument.text, argument.len, SEPARATOR, sizeof SEPARATOR - 1) != NULL) {
            return error_set(err, ERR_INVALID_CONFIG,
                             "%s boot_args have \"" SEPARATOR "\" within quotes: Firecracker takes it for the end of the kernel's arguments", whose);
        } else if (find_reserved(&argument, args->has_address, args->root_is_read_only) == NULL) {
            append_text(line->kernel, argument.text, argument.len);
        }
    }
    return 0;
}

/* With a prefix of 128 all goes by the gateway, also to other guests: there the policies decide. */
void kernel_args_network(struct strbuf *b, const struct network_settings *settings, uint32_t ipv4, const uint32_t *dns, size_t dns_count)
{
    char address[IP_TEXT_MAX];
    char gateway[IP_TEXT_MAX];
    char mask[IPV4_TEXT_MAX];
    strbuf_addf(b, " ip=%s::%s:%s::eth0:off", ipv4_format(ipv4, address), ipv4_format(settings->gateway, gateway),
                ipv4_format(ipv4_mask(settings->subnet.prefix), mask));
    for (size_t i = 0; i < dns_count && i < KERNEL_ARGS_DNS_MAX; i++) {
        strbuf_addf(b, ":%s", ipv4_format(dns[i], address));
    }
    if (network_has_ipv6(settings)) {
        const struct ip_addr address6 = network_address6(settings, ipv4);
        strbuf_addf(b, " smartvm.ip6=%s/128,%s", ip_addr_format(&address6, address), ip_addr_format(&settings->gateway6, gateway));
    }
}

static int fill_line(struct line *line, struct error *err)
{
    const struct kernel_args *args = line->args;
    strbuf_add(line->kernel, args->vmm->needs);
    if (add_text(line, "the image's", args->image, err) != 0) {
        return -1;
    }
    if (args->has_address) {
        kernel_args_network(line->kernel, args->settings, args->address, args->dns, args->dns_count);
    }
    strbuf_addf(line->kernel, " smartvm.id=%s", args->id);
    if (add_text(line, "the VM's", args->own, err) != 0) {
        return -1;
    }
    if (!args->vmm->adds_root) {
        strbuf_add(line->kernel, args->root_is_read_only ? " root=/dev/vda ro" : " root=/dev/vda rw");
    }
    if (line->init->len > 0) {
        strbuf_add(line->kernel, SEPARATOR);
        strbuf_add(line->kernel, line->init->data);
    }
    return 0;
}

int kernel_args_compose(const struct kernel_args *args, char **ret, struct error *err)
{
    AUTO_STRBUF kernel = STRBUF_INIT;
    AUTO_STRBUF init = STRBUF_INIT;
    struct line line = {.args = args, .kernel = &kernel, .init = &init};
    if (fill_line(&line, err) != 0) {
        return -1;
    }
    size_t len = kernel.len + args->vmm->added_bytes + args->device_count * args->vmm->device_bytes;
    if (kernel.failed || init.failed) {
        return error_oom(err);
    }
    if (len >= LIMIT_BOOT_ARGS_BYTES) {
        return error_set(err, ERR_INVALID_CONFIG, "the kernel's command line would have up to %zu bytes with all that is added to boot_args, and may have %d",
                         len, LIMIT_BOOT_ARGS_BYTES - 1);
    }
    *ret = strbuf_take(&kernel);
    return *ret != NULL ? 0 : error_oom(err);
}
