#include "core/vm_config.h"

#include "core/cleanup.h"
#include "core/device.h"
#include "core/json.h"
#include "core/json_build.h"
#include "core/names.h"
#include "core/vm_config_internal.h"

#include <stdio.h>
#include <string.h>

static const char *const vmm_names[VM_VMM_COUNT_] = {[VM_VMM_AUTO] = "auto", [VM_VMM_FIRECRACKER] = "firecracker", [VM_VMM_QEMU] = "qemu"};
static const char *const restart_names[VM_RESTART_POLICY_COUNT_] = {
    [VM_RESTART_NEVER] = "never", [VM_RESTART_ON_FAILURE] = "on-failure", [VM_RESTART_ALWAYS] = "always"};

const char *vm_vmm_name(enum vm_vmm vmm)
{
    return vmm_names[vmm];
}

const char *vm_restart_policy_name(enum vm_restart_policy policy)
{
    return restart_names[policy];
}

static void take_text(struct config_parse *parse, const char *text, char **ret)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        parse->out_of_memory = true;
        return;
    }
    free(*ret);
    *ret = copy;
}

/* ---- one member each: its value is there */

static void parse_image(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    const char *text = config_string(parse, json, "", "image");
    if (text != NULL && !name_is_image_id(text)) {
        config_fault(parse, "/image", "must be the id of an image");
    } else if (text != NULL) {
        take_text(parse, text, &config->image);
    }
}

static json_t *image_json(const struct vm_config *config)
{
    return json_string(config->image);
}

static bool image_equal(const struct vm_config *a, const struct vm_config *b)
{
    return strcmp(a->image, b->image) == 0;
}

static void parse_machine(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    static const char *const names[] = {"vcpu_count", "mem_size_mib"};
    const json_t *machine = json_object_get(json, "machine_config");
    int64_t vcpus = config->machine.vcpu_count;
    int64_t mib = config->machine.mem_size_mib;
    if (!config_is_object(parse, machine, "/machine_config", names, ARRAY_LEN(names))) {
        return;
    }
    config_integer(parse, machine, "/machine_config", "vcpu_count", 1, VM_CONFIG_VCPUS_MAX, &vcpus);
    config_integer(parse, machine, "/machine_config", "mem_size_mib", 1, VM_CONFIG_MEM_MIB_MAX, &mib);
    if (vcpus > 1 && vcpus % 2 != 0) {
        config_fault(parse, "/machine_config/vcpu_count", "must be 1 or an even number");
    }
    config->machine.vcpu_count = (unsigned)vcpus;
    config->machine.mem_size_mib = (unsigned)mib;
}

static json_t *machine_json(const struct vm_config *config)
{
    return json_pack("{s:i, s:i}", "vcpu_count", (int)config->machine.vcpu_count, "mem_size_mib", (int)config->machine.mem_size_mib);
}

static bool machine_equal(const struct vm_config *a, const struct vm_config *b)
{
    return a->machine.vcpu_count == b->machine.vcpu_count && a->machine.mem_size_mib == b->machine.mem_size_mib;
}

static bool is_printable(const char *text)
{
    while (*text >= ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

static void parse_boot_args(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    const char *text = config_string(parse, json, "", "boot_args");
    if (text != NULL && (strlen(text) > VM_CONFIG_BOOT_ARGS_MAX || !is_printable(text))) {
        config_fault(parse, "/boot_args", "must be at most %d printable ASCII characters", (int)VM_CONFIG_BOOT_ARGS_MAX);
    } else if (text != NULL) {
        take_text(parse, text, &config->boot_args);
    }
}

static json_t *boot_args_json(const struct vm_config *config)
{
    return json_string(config->boot_args);
}

static bool boot_args_equal(const struct vm_config *a, const struct vm_config *b)
{
    return strcmp(a->boot_args, b->boot_args) == 0;
}

static void parse_vmm(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    unsigned vmm = config->vmm;
    config_name(parse, json, "", "vmm", vmm_names, ARRAY_LEN(vmm_names), &vmm);
    config->vmm = (enum vm_vmm)vmm;
}

static json_t *vmm_json(const struct vm_config *config)
{
    return json_string(vmm_names[config->vmm]);
}

static bool vmm_equal(const struct vm_config *a, const struct vm_config *b)
{
    return a->vmm == b->vmm;
}

static void check_iface_is_new(struct config_parse *parse, const struct vm_config *config, const char *pointer, const char *id)
{
    for (size_t i = 0; i < config->interface_count; i++) {
        if (strcmp(config->interfaces[i].iface_id, id) == 0) {
            config_member_fault(parse, pointer, "iface_id", "is that of /network_interfaces/%zu too", i);
            return;
        }
    }
}

static void parse_interface(struct config_parse *parse, const json_t *item, const char *pointer, struct vm_config *config)
{
    static const char *const names[] = {"iface_id"};
    struct vm_config_interface *interface = &config->interfaces[config->interface_count];
    if (!config_is_object(parse, item, pointer, names, ARRAY_LEN(names)) || !config_required(parse, item, pointer, "iface_id")) {
        return;
    }
    const char *id = config_string(parse, item, pointer, "iface_id");
    if (id != NULL && !name_is_iface_id(id)) {
        config_member_fault(parse, pointer, "iface_id", "must be a name of at most %d of a-z, 0-9 and _, that does not begin with _",
                            (int)VM_CONFIG_IFACE_ID_MAX);
    } else if (id != NULL) {
        check_iface_is_new(parse, config, pointer, id);
        (void)snprintf(interface->iface_id, sizeof interface->iface_id, "%s", id);
    }
}

static void parse_interfaces(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    const json_t *list = json_object_get(json, "network_interfaces");
    if (!config_is_array(parse, list, "/network_interfaces", device_types[DEVICE_INTERFACES].at_most)) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        char pointer[48];
        (void)snprintf(pointer, sizeof pointer, "/network_interfaces/%zu", i);
        parse_interface(parse, json_array_get(list, i), pointer, config);
        config->interface_count++;
    }
}

static json_t *interfaces_json(const struct vm_config *config)
{
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < config->interface_count; i++) {
        json_build_add(&list, json_pack("{s:s}", "iface_id", config->interfaces[i].iface_id));
    }
    return json_build_take(&list);
}

static bool interfaces_equal(const struct vm_config *a, const struct vm_config *b)
{
    bool equal = a->interface_count == b->interface_count;
    for (size_t i = 0; i < a->interface_count && equal; i++) {
        equal = strcmp(a->interfaces[i].iface_id, b->interfaces[i].iface_id) == 0;
    }
    return equal;
}

static void parse_ports(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    config_parse_ports(parse, json_object_get(json, "ports"), config);
}

static void parse_autostart(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    const json_t *value = json_object_get(json, "autostart");
    if (!json_is_boolean(value)) {
        config_fault(parse, "/autostart", "must be a boolean");
        return;
    }
    config->autostart = json_is_true(value);
}

static json_t *autostart_json(const struct vm_config *config)
{
    return json_boolean(config->autostart);
}

static bool autostart_equal(const struct vm_config *a, const struct vm_config *b)
{
    return a->autostart == b->autostart;
}

static void parse_restart_policy(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    unsigned policy = config->restart_policy;
    config_name(parse, json, "", "restart_policy", restart_names, ARRAY_LEN(restart_names), &policy);
    config->restart_policy = (enum vm_restart_policy)policy;
}

static json_t *restart_policy_json(const struct vm_config *config)
{
    return json_string(restart_names[config->restart_policy]);
}

static bool restart_policy_equal(const struct vm_config *a, const struct vm_config *b)
{
    return a->restart_policy == b->restart_policy;
}

enum { LABEL_NAME_MAX = 63, LABEL_VALUE_MAX = 255 };

static bool is_label_name(const char *name)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
    const size_t len = strlen(name);
    return len > 0 && len <= LABEL_NAME_MAX && strspn(name, characters) == len && strchr("._/-", name[0]) == NULL;
}

/* In characters; what jansson gives is UTF-8. */
static size_t text_length(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static void parse_labels(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    json_t *labels = json_object_get(json, "labels");
    const char *name = NULL;
    json_t *value = NULL;
    if (!json_is_object(labels)) {
        config_fault(parse, "/labels", "must be an object");
        return;
    }
    if (json_object_size(labels) > LIMIT_LABELS) {
        config_fault(parse, "/labels", "must have at most %d labels", (int)LIMIT_LABELS);
        return;
    }
    json_object_foreach(labels, name, value)
    {
        if (!is_label_name(name)) {
            config_member_fault(parse, "/labels", name, "is no name of a label");
        } else if (!json_is_string(value)) {
            config_member_fault(parse, "/labels", name, "must be a string");
        } else if (text_length(json_string_value(value)) > LABEL_VALUE_MAX) {
            config_member_fault(parse, "/labels", name, "must have at most %d characters", (int)LABEL_VALUE_MAX);
        }
    }
    json_decref(config->labels);
    config->labels = json_deep_copy(labels);
    parse->out_of_memory = parse->out_of_memory || config->labels == NULL;
}

static json_t *labels_json(const struct vm_config *config)
{
    return config->labels != NULL ? json_incref(config->labels) : json_object();
}

static bool labels_equal(const struct vm_config *a, const struct vm_config *b)
{
    return json_object_size(a->labels) == json_object_size(b->labels) && (json_object_size(a->labels) == 0 || json_equal(a->labels, b->labels));
}

static void parse_limits(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    config_parse_limits(parse, json_object_get(json, "limits"), &config->limits);
}

static json_t *limits_json(const struct vm_config *config)
{
    return config_limits_json(&config->limits);
}

static bool limits_equal(const struct vm_config *a, const struct vm_config *b)
{
    return config_limits_equal(&a->limits, &b->limits);
}

/* ---- the table */

enum { NO_DEVICE = -1 };

static const struct {
    const char *name;
    void (*parse)(struct config_parse *parse, const json_t *json, struct vm_config *config);
    json_t *(*to_json)(const struct vm_config *config);
    bool (*equal)(const struct vm_config *a, const struct vm_config *b);
    int device;   /* enum device, which says whether a change is live, or NO_DEVICE: */
    bool at_boot; /* a change counts from the next boot on */
} members[VM_CONFIG_MEMBER_COUNT_] = {
    [VM_CONFIG_IMAGE] = {"image", parse_image, image_json, image_equal, NO_DEVICE, true},
    [VM_CONFIG_MACHINE] = {"machine_config", parse_machine, machine_json, machine_equal, DEVICE_MACHINE, false},
    [VM_CONFIG_BOOT_ARGS] = {"boot_args", parse_boot_args, boot_args_json, boot_args_equal, DEVICE_BOOT_ARGS, false},
    [VM_CONFIG_VMM] = {"vmm", parse_vmm, vmm_json, vmm_equal, NO_DEVICE, true},
    [VM_CONFIG_INTERFACES] = {"network_interfaces", parse_interfaces, interfaces_json, interfaces_equal, DEVICE_INTERFACES, false},
    [VM_CONFIG_PORTS] = {"ports", parse_ports, config_ports_json, config_ports_equal, DEVICE_PORTS, false},
    [VM_CONFIG_AUTOSTART] = {"autostart", parse_autostart, autostart_json, autostart_equal, NO_DEVICE, false},
    [VM_CONFIG_RESTART_POLICY] = {"restart_policy", parse_restart_policy, restart_policy_json, restart_policy_equal, NO_DEVICE, false},
    [VM_CONFIG_LABELS] = {"labels", parse_labels, labels_json, labels_equal, NO_DEVICE, false},
    [VM_CONFIG_LIMITS] = {"limits", parse_limits, limits_json, limits_equal, NO_DEVICE, false}, /* of the host's cgroup: no VMM knows of them */
};

const char *vm_config_member_name(enum vm_config_member member)
{
    return members[member].name;
}

int vm_config_defaults(struct vm_config *ret, struct error *err)
{
    *ret = (struct vm_config){
        .machine = {.vcpu_count = 1, .mem_size_mib = 128}, .boot_args = strdup(""), .vmm = VM_VMM_AUTO, .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}};
    return ret->boot_args != NULL ? 0 : error_oom(err);
}

/* Which devices it has, a bit each. */
static unsigned devices_of(const struct vm_config *config)
{
    return 1U << DEVICE_BOOT_ARGS | 1U << DEVICE_MACHINE | 1U << DEVICE_DRIVES | 1U << DEVICE_ENTROPY |
           (config->interface_count > 0 ? 1U << DEVICE_INTERFACES : 0) | (config->port_count > 0 ? 1U << DEVICE_PORTS : 0);
}

static void parse_members(struct config_parse *parse, const json_t *json, struct vm_config *config)
{
    const char *names[VM_CONFIG_MEMBER_COUNT_];
    for (size_t i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        names[i] = members[i].name;
    }
    if (!config_is_object(parse, json, "", names, ARRAY_LEN(names))) {
        return;
    }
    (void)config_required(parse, json, "", "image");
    for (size_t i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        if (json_object_get(json, members[i].name) != NULL) {
            members[i].parse(parse, json, config);
        }
    }
    const struct device_type *lacking = device_lacking(device_types, DEVICE_COUNT_, devices_of(config), vmm_names[config->vmm]);
    if (lacking != NULL) {
        config_member_fault(parse, "", lacking->name, "is nothing that %s has", vmm_names[config->vmm]);
    }
}

int vm_config_parse(const json_t *json, enum vm_config_source source, struct vm_config *ret, vm_config_fault_fn *fault, void *ctx, struct error *err)
{
    AUTO_VM_CONFIG config = {.image = NULL};
    struct config_parse parse = {.source = source, .fault = fault, .ctx = ctx};
    if (vm_config_defaults(&config, err) != 0) {
        return -1;
    }
    parse_members(&parse, json, &config);
    if (parse.out_of_memory) {
        return error_oom(err);
    }
    if (parse.faults > 1) {
        return error_set(err, ERR_INVALID_CONFIG, "%s (and %zu more)", parse.first, parse.faults - 1);
    }
    if (parse.faults == 1) {
        return error_set(err, ERR_INVALID_CONFIG, "%s", parse.first);
    }
    *ret = config;
    memset(&config, 0, sizeof config);
    return 0;
}

int vm_config_parse_text(const char *text, struct vm_config *ret, struct error *err)
{
    AUTO_JSON *json = NULL;
    const size_t len = strnlen(text, LIMIT_VM_CONFIG_BYTES + 1);
    if (len > LIMIT_VM_CONFIG_BYTES) {
        return error_set(err, ERR_INVALID_CONFIG, "the document has more than %d bytes", (int)LIMIT_VM_CONFIG_BYTES);
    }
    struct error why = {0};
    if (json_parse(text, len, &json, &why) != 0) { /* whose words may quote what stands there */
        return why.code == ERR_INVALID_JSON ? error_set(err, ERR_INVALID_CONFIG, "the document is not JSON") : error_set(err, why.code, "%s", why.message);
    }
    return vm_config_parse(json, VM_CONFIG_STORED, ret, NULL, NULL, err);
}

json_t *vm_config_to_json(const struct vm_config *config)
{
    AUTO_JSON_BUILD json = json_build_object();
    for (size_t i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        json_build_put(&json, members[i].name, members[i].to_json(config));
    }
    return json_build_take(&json);
}

int vm_config_text(const struct vm_config *config, char **ret, struct error *err)
{
    AUTO_JSON *json = vm_config_to_json(config);
    char *text = json != NULL ? json_text(json) : NULL;
    if (text == NULL) {
        return error_oom(err);
    }
    *ret = text;
    return 0;
}

void vm_config_free(struct vm_config *config)
{
    free(config->image);
    free(config->boot_args);
    json_decref(config->labels);
    memset(config, 0, sizeof *config);
}

unsigned vm_config_differences(const struct vm_config *a, const struct vm_config *b)
{
    unsigned differ = 0;
    for (size_t i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        differ |= members[i].equal(a, b) ? 0 : 1U << i;
    }
    return differ;
}

bool vm_config_equal(const struct vm_config *a, const struct vm_config *b)
{
    return vm_config_differences(a, b) == 0;
}

unsigned vm_config_at_next_boot(unsigned changed)
{
    unsigned waits = 0;
    for (size_t i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        const bool at_boot = members[i].device == NO_DEVICE ? members[i].at_boot : !device_is_live(&device_types[members[i].device]);
        waits |= at_boot ? changed & 1U << i : 0;
    }
    return waits;
}
