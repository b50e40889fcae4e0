/*
 * The configuration file, in the order in which the real one goes through it: syntax and shape of the whole, the
 * machine, the kernel, drives, interfaces; and last, when the machine starts, whether the kernel is one.
 */
#include "standin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

enum { CONFIG_MAX = 1024 * 1024, VNET_HEADER_BYTES = 12 };

#define FROM_JSON "Configuration for VMM from one single json failed: "

static const struct standin_field drive_fields[] = {
    {"drive_id", STANDIN_STRING, true, NULL},    {"partuuid", STANDIN_STRING, false, NULL},   {"is_root_device", STANDIN_BOOL, true, NULL},
    {"cache_type", STANDIN_STRING, false, NULL}, {"is_read_only", STANDIN_BOOL, false, NULL}, {"path_on_host", STANDIN_STRING, false, NULL},
    {"rate_limiter", STANDIN_ANY, false, NULL},  {"io_engine", STANDIN_STRING, false, NULL},  {"socket", STANDIN_STRING, false, NULL},
};
static const struct standin_field nic_fields[] = {
    {"iface_id", STANDIN_STRING, true, NULL},      {"host_dev_name", STANDIN_STRING, true, NULL}, {"guest_mac", STANDIN_STRING, false, NULL},
    {"rx_rate_limiter", STANDIN_ANY, false, NULL}, {"tx_rate_limiter", STANDIN_ANY, false, NULL},
};
static const struct standin_field machine_fields[] = {
    {"vcpu_count", STANDIN_U8, true, NULL},     {"mem_size_mib", STANDIN_USIZE, true, NULL},      {"smt", STANDIN_BOOL, false, NULL},
    {"cpu_template", STANDIN_ANY, false, NULL}, {"track_dirty_pages", STANDIN_BOOL, false, NULL}, {"huge_pages", STANDIN_ANY, false, NULL},
};
static const struct standin_field boot_fields[] = {
    {"kernel_image_path", STANDIN_STRING, true, NULL},
    {"initrd_path", STANDIN_STRING, false, NULL},
    {"boot_args", STANDIN_STRING, false, NULL},
};
static const struct standin_field config_fields[] = {
    {"boot-source", STANDIN_ANY, true, NULL},
    {"drives", STANDIN_ANY, true, NULL},
};
static const struct standin_shape config_shape = {"VmmConfig", config_fields, ARRAY_LEN(config_fields), true};
static const struct standin_shape drive_shape = {"BlockDeviceConfig", drive_fields, ARRAY_LEN(drive_fields), false};
static const struct standin_shape nic_shape = {"NetworkInterfaceConfig", nic_fields, ARRAY_LEN(nic_fields), false};
const struct standin_shape standin_machine_shape = {"MachineConfig", machine_fields, ARRAY_LEN(machine_fields), false};
const struct standin_shape standin_boot_shape = {"BootSourceConfig", boot_fields, ARRAY_LEN(boot_fields), false};

static bool __attribute__((format(printf, 3, 4))) refuse(struct standin_refusal *why, const char *debug, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why->words, sizeof why->words, fmt, args);
    va_end(args);
    (void)snprintf(why->debug, sizeof why->debug, "%s", debug);
    return false;
}

static bool refuse_json(struct standin_refusal *why, const char *text)
{
    char debug[480];
    (void)snprintf(debug, sizeof debug, "ParseFromJson(InvalidJson(Error(\"%.400s\")))", text);
    return refuse(why, debug, FROM_JSON "Invalid JSON: %s", text);
}

static bool check_list(const json_t *list, const struct standin_shape *shape, struct standin_refusal *why)
{
    char text[400];
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(list, i, item)
    {
        struct mac mac;
        const char *address = json_get_string(item, "guest_mac");
        if (!standin_check_shape(item, shape, text, sizeof text)) {
            return refuse_json(why, text);
        }
        if (address != NULL && !mac_parse(address, &mac)) {
            return refuse_json(why, "The provided MAC address is invalid.");
        }
    }
    return true;
}

static bool check_shapes(const json_t *config, struct standin_refusal *why)
{
    char text[400];
    const json_t *machine = json_object_get(config, "machine-config");
    if (!standin_check_shape(json_object_get(config, "boot-source"), &standin_boot_shape, text, sizeof text) ||
        (machine != NULL && !standin_check_shape(machine, &standin_machine_shape, text, sizeof text))) {
        return refuse_json(why, text);
    }
    return check_list(json_object_get(config, "drives"), &drive_shape, why) && check_list(json_object_get(config, "network-interfaces"), &nic_shape, why);
}

const char *standin_check_machine(const struct standin_machine *machine)
{
    const int64_t vcpus = machine->vcpu_count;
    if (vcpus < 1 || vcpus > STANDIN_VCPUS || (machine->smt && vcpus > 1 && vcpus % 2 != 0)) {
        return "The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is "
               "enabled.";
    }
    if (machine->mem_size_mib < 1) {
        return "The memory size (MiB) is either 0, or not a multiple of the configured page size.";
    }
    return NULL;
}

static bool take_machine(struct standin *s, const json_t *machine, struct standin_refusal *why)
{
    if (machine == NULL) {
        return true;
    }
    s->machine.vcpu_count = json_get_int(machine, "vcpu_count", 1);
    s->machine.mem_size_mib = json_get_int(machine, "mem_size_mib", 0);
    s->machine.smt = json_get_bool(machine, "smt", false);
    s->machine.track_dirty_pages = json_get_bool(machine, "track_dirty_pages", false);
    const char *text = standin_check_machine(&s->machine);
    return text == NULL || refuse(why, "ParseFromJson(MachineConfig(…))", FROM_JSON "VM config error: %s", text);
}

bool standin_check_boot_source(const json_t *source, struct standin_refusal *why)
{
    const char *args = json_get_string(source, "boot_args");
    AUTO_CLOSE int kernel = open(json_get_string(source, "kernel_image_path"), O_RDONLY | O_CLOEXEC);
    if (kernel < 0) {
        return refuse(why, "ParseFromJson(BootSource(InvalidKernelPath(…)))", "Boot source error: The kernel file cannot be opened: %s (os error %d)",
                      strerror(errno), errno);
    }
    if (args != NULL && strlen(args) >= STANDIN_CMDLINE_MAX) {
        return refuse(why, "ParseFromJson(BootSource(InvalidKernelCommandLine(\"Invalid cmdline capacity provided.\")))",
                      "Boot source error: The kernel command line is invalid: Invalid cmdline capacity provided.");
    }
    return true;
}

static bool take_boot_source(struct standin *s, json_t *source, struct standin_refusal *why)
{
    if (!standin_check_boot_source(source, why)) {
        char words[sizeof why->words];
        memcpy(words, why->words, sizeof words);
        (void)snprintf(why->words, sizeof why->words, FROM_JSON "%.400s", words);
        return false;
    }
    s->boot_source = json_incref(source);
    return true;
}

static bool take_drives(struct standin *s, const json_t *drives, struct standin_refusal *why)
{
    size_t i = 0;
    bool root = false;
    json_t *drive = NULL;
    json_array_foreach(drives, i, drive)
    {
        const char *path = json_get_string(drive, "path_on_host");
        const bool read_only = json_get_bool(drive, "is_read_only", false);
        if (root && json_get_bool(drive, "is_root_device", false)) {
            return refuse(why, "ParseFromJson(BlockDevice(RootBlockDeviceAlreadyAdded))", FROM_JSON "Block device error: A root block device already exists!");
        }
        AUTO_CLOSE int file = open(path == NULL ? "" : path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (file < 0) {
            return refuse(why, "ParseFromJson(BlockDevice(CreateBlockDevice(VirtioBackend(BackingFile(…)))))",
                          FROM_JSON "Block device error: Unable to create the virtio block device: Virtio backend error: "
                                    "Error manipulating the backing file: %s (os error %d) %.100s",
                          strerror(errno), errno, path == NULL ? "" : path);
        }
        root |= json_get_bool(drive, "is_root_device", false);
        (void)json_array_append(s->drives, drive);
    }
    return true;
}

/* A missing TAP is made, as the real one does when it may. */
static bool open_tap(struct standin_nic *nic, struct standin_refusal *why)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int header = VNET_HEADER_BYTES;
    memcpy(request.ifr_name, nic->tap_name, strnlen(nic->tap_name, sizeof request.ifr_name - 1));
    AUTO_CLOSE int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) != 0 || ioctl(tap, TUNSETVNETHDRSZ, &header) != 0 ||
        ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_UFO | TUN_F_TSO4 | TUN_F_TSO6) != 0) {
        return refuse(why, "ParseFromJson(NetDevice(CreateNetworkDevice(TapOpen(IfreqExecuteError(…)))))",
                      FROM_JSON "Network device error: Could not create the network device: Open tap device failed: "
                                "Error while creating ifreq structure: %s (os error %d). Invalid TUN/TAP Backend provided "
                                "by %s. Check our documentation on setting up the network devices.",
                      strerror(errno), errno, nic->tap_name);
    }
    nic->tap = TAKE_FD(tap);
    return true;
}

static bool take_nic(struct standin *s, const json_t *row, struct standin_refusal *why)
{
    struct standin_nic *nic = &s->nics[s->nic_count];
    const char *name = json_get_string(row, "host_dev_name");
    const char *mac = json_get_string(row, "guest_mac");
    if (strlen(name) >= sizeof nic->tap_name) {
        return refuse(why, "ParseFromJson(NetDevice(CreateNetworkDevice(TapOpen(InvalidIfname))))",
                      FROM_JSON "Network device error: Could not create the network device: Open tap device failed: "
                                "Invalid interface name");
    }
    for (size_t i = 0; mac != NULL && i < s->nic_count; i++) {
        if (strcmp(s->nics[i].mac, mac) == 0) {
            return refuse(why, "ParseFromJson(NetDevice(GuestMacAddressInUse(…)))", FROM_JSON "Network device error: The MAC address is already in use: %s",
                          mac);
        }
    }
    (void)snprintf(nic->iface_id, sizeof nic->iface_id, "%s", json_get_string(row, "iface_id"));
    (void)snprintf(nic->tap_name, sizeof nic->tap_name, "%s", name);
    (void)snprintf(nic->mac, sizeof nic->mac, "%s", mac == NULL ? "" : mac);
    if (!open_tap(nic, why)) {
        return false;
    }
    s->nic_count++;
    return true;
}

static bool take_nics(struct standin *s, const json_t *rows, struct standin_refusal *why)
{
    size_t i = 0;
    const json_t *row = NULL;
    json_array_foreach(rows, i, row)
    {
        if (s->nic_count == STANDIN_NICS) {
            return refuse(why, "TooManyInterfaces", "the stand-in has room for %d interfaces", STANDIN_NICS);
        }
        if (!take_nic(s, row, why)) {
            return false;
        }
    }
    return true;
}

static bool check_kernel(const struct standin *s, struct standin_refusal *why)
{
    char magic[4] = {0};
    AUTO_CLOSE int kernel = open(json_get_string(s->boot_source, "kernel_image_path"), O_RDONLY | O_CLOEXEC);
    if (kernel < 0 || read(kernel, magic, sizeof magic) != sizeof magic || memcmp(magic, "\177ELF", sizeof magic) != 0) {
        return refuse(why, "StartMicroVM(ConfigureSystem(KernelLoader(Elf(InvalidElfMagicNumber))))",
                      "Could not Start MicroVM from one single json: System configuration error: Cannot load kernel due to "
                      "invalid memory configuration or invalid kernel image: Kernel Loader: failed to load ELF kernel "
                      "image: Kernel Loader: Invalid Elf magic number");
    }
    return true;
}

bool standin_load_config(struct standin *s, struct standin_refusal *why)
{
    char text[400];
    static char content[CONFIG_MAX];
    AUTO_CLOSE int file = open(s->config_file, O_RDONLY | O_CLOEXEC);
    ssize_t len = file < 0 ? -1 : read(file, content, sizeof content);
    if (len < 0) {
        return refuse(why, "ConfigFile", "Unable to open or read from the configuration file: %s", strerror(errno));
    }
    AUTO_JSON *config = standin_parse(content, (size_t)len, &config_shape, text, sizeof text);
    if (config == NULL) {
        return refuse_json(why, text);
    }
    s->entropy = json_object_get(config, "entropy") != NULL;
    return check_shapes(config, why) && take_machine(s, json_object_get(config, "machine-config"), why) &&
           take_boot_source(s, json_object_get(config, "boot-source"), why) && take_drives(s, json_object_get(config, "drives"), why) &&
           take_nics(s, json_object_get(config, "network-interfaces"), why) && check_kernel(s, why);
}

static void *sleep_as_vcpu(void *arg)
{
    char name[16];
    (void)snprintf(name, sizeof name, "fc_vcpu %d", (int)(intptr_t)arg);
    (void)prctl(PR_SET_NAME, name);
    standin_hang();
}

void standin_start_machine(struct standin *s)
{
    for (int64_t i = 0; i < s->machine.vcpu_count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, sleep_as_vcpu, (void *)(intptr_t)i) != 0) {
            standin_log(s, "main", "standin: no thread for vCPU %d", (int)i);
            standin_exit(s, 1);
        }
    }
    atomic_store(&s->state, STANDIN_RUNNING);
}
