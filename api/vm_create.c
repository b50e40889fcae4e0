/* POST /vms: one transaction from the checks that need the store to the answer that is stored with them. */
#include "api/firewall.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/vm_network.h"
#include "api/vm_ports.h"
#include "api/vms.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"
#include "db/facts.h"
#include "db/images.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void vm_check_machine_config(struct call *call)
{
    int64_t vcpus = json_get_int(json_object_get(call->body, "machine_config"), "vcpu_count", 1);
    if (vcpus > 1 && vcpus % 2 != 0) {
        spec_faults_add(&call->faults, "body", "/machine_config/vcpu_count", "must be 1 or an even number");
    }
}

void vm_check_create(struct call *call)
{
    const json_t *interfaces = json_object_get(call->body, "network_interfaces");
    vm_check_machine_config(call);
    vm_ports_check(call);
    firewall_check_policy(call, json_object_get(call->body, "firewall"), "/firewall");
    for (size_t i = 0; i < json_array_size(interfaces); i++) {
        const char *id = json_get_string(json_array_get(interfaces, i), "iface_id");
        for (size_t j = 0; j < i && id != NULL; j++) {
            const char *other = json_get_string(json_array_get(interfaces, j), "iface_id");
            if (other != NULL && strcmp(id, other) == 0) {
                char pointer[64];
                (void)snprintf(pointer, sizeof pointer, "/network_interfaces/%zu/iface_id", i);
                spec_faults_add(&call->faults, "body", pointer, "is that of /network_interfaces/%zu too", j);
                break;
            }
        }
    }
}

int vm_check_memory(struct api *api, unsigned mem_size_mib, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_JSON *host = NULL;
    if (facts_get(api->db, "host", &text, err) != 0) {
        return -1;
    }
    if (text == NULL || json_parse(text, strlen(text), &host, NULL) != 0) {
        return 0; /* the worker checks again when the VM is started */
    }
    int64_t memory = json_get_int(host, "memory_mib", INT64_MAX);
    if ((int64_t)mem_size_mib > memory) {
        return error_set(err, ERR_INSUFFICIENT_MEMORY, "the VM is to have %u MiB, and the host has %lld",
                         mem_size_mib, (long long)memory);
    }
    return 0;
}

static int check_image(struct api *api, const char *id, struct error *err)
{
    AUTO_IMAGE_ROW image = {0};
    bool found = false;
    if (images_get(api->db, id, &image, &found, err) != 0) {
        return -1;
    }
    if (!found) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "there is no image '%s'", id);
    }
    if (image.state != IMAGE_READY) {
        return error_set(err, ERR_IMAGE_NOT_READY, "image '%s' is %s", id, image_state_name(image.state));
    }
    if (strstr(image.manifest, "\"arch\":\"x86_64\"") == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "image '%s' is for another architecture than this host's, x86_64", id);
    }
    return 0;
}

static int check_count(struct api *api, struct error *err)
{
    int64_t count = 0;
    if (vms_count(api->db, &count, err) != 0) {
        return -1;
    }
    return count < LIMIT_VMS
               ? 0
               : error_set(err, ERR_TOO_MANY_REQUESTS, "there are %d VMs, the most there can be", LIMIT_VMS);
}

/* "vm-" and ten of 36 characters. */
static char *make_id(struct error *err)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    enum {
        CHARACTERS = 10,
        FAIR = 252 /* the multiple of 36 below 256: bytes from there on would favour some */
    };
    char id[4 + CHARACTERS] = "vm-";
    for (size_t i = 0; i < CHARACTERS;) {
        unsigned char byte = 0;
        if (getrandom(&byte, 1, 0) != 1) {
            (void)error_sys(err, ERR_SYSTEM, errno, "no random bytes for an id");
            return NULL;
        }
        if (byte < FAIR) {
            id[3 + i++] = alphabet[byte % 36];
        }
    }
    char *copy = strdup(id);
    if (copy == NULL) {
        (void)error_oom(err);
    }
    return copy;
}

static int fill_interfaces(const json_t *body, struct vm_row *row, struct error *err)
{
    const json_t *list = json_object_get(body, "network_interfaces");
    size_t count = json_array_size(list);
    if (count == 0) {
        return 0;
    }
    row->interfaces = calloc(count, sizeof *row->interfaces);
    if (row->interfaces == NULL) {
        return error_oom(err);
    }
    row->interface_count = count;
    for (size_t i = 0; i < count; i++) {
        row->interfaces[i].iface_id = strdup(json_get_string(json_array_get(list, i), "iface_id"));
        if (row->interfaces[i].iface_id == NULL) {
            return error_oom(err);
        }
    }
    return 0;
}

static char *copy_text(const json_t *body, const char *member)
{
    const char *text = json_get_string(body, member);
    return strdup(text != NULL ? text : "");
}

/* `body` has its defaults. */
static int fill_row(const json_t *body, struct vm_row *row, struct error *err)
{
    const json_t *machine = json_object_get(body, "machine_config");
    const json_t *labels = json_object_get(body, "labels");
    row->image = copy_text(body, "image");
    row->boot_args = copy_text(body, "boot_args");
    row->vmm = copy_text(body, "vmm");
    row->labels = labels != NULL ? json_text(labels) : strdup("{}");
    row->observed = strdup("{}");
    if (row->image == NULL || row->boot_args == NULL || row->vmm == NULL || row->labels == NULL ||
        row->observed == NULL) {
        return error_oom(err);
    }
    (void)vm_desired_parse(json_get_string(body, "desired_state"), &row->desired);
    row->vcpu_count = (unsigned)json_get_int(machine, "vcpu_count", 1);
    row->mem_size_mib = (unsigned)json_get_int(machine, "mem_size_mib", 1);
    row->autostart = json_get_bool(body, "autostart", false);
    row->id = json_get_string(body, "id") != NULL ? copy_text(body, "id") : make_id(err);
    if (row->id == NULL) {
        return json_get_string(body, "id") != NULL ? error_oom(err) : -1;
    }
    (void)vm_ports_read(body, row);
    return fill_interfaces(body, row, err);
}

/* Inside the transaction. */
static int insert(struct call *call, struct vm_row *row, struct error *err)
{
    struct api *api = call->api;
    AUTO_VM_ROW existing = {0};
    bool exists = false;
    if (vms_get(api->db, row->id, &existing, &exists, err) != 0) {
        return -1;
    }
    if (exists) { /* said before the store would, since that is after an address was looked for */
        return error_set(err, ERR_ALREADY_EXISTS, "a VM with the id '%s' exists", row->id);
    }
    if (check_image(api, row->image, err) != 0 || vm_check_memory(api, row->mem_size_mib, err) != 0 ||
        check_count(api, err) != 0 || vm_network_allocate(api, row, err) != 0 ||
        vms_insert(api->db, row, err) != 0 || vm_ports_store(call, row, err) != 0 ||
        firewall_store_new(api, row->uid, json_object_get(call->body, "firewall"), err) != 0) {
        return -1;
    }
    AUTO_STRBUF data = STRBUF_INIT;
    strbuf_addf(&data, "{\"image\":\"%s\",\"desired_state\":\"%s\"}", row->image,
                vm_desired_name(row->desired));
    return data.failed ? error_oom(err) : events_add(api->db, "vm.created", "vm", row->id, data.data, err);
}

static int apply_defaults(struct call *call, struct error *err)
{
    /* Its members have defaults also where it is left out itself. */
    if (json_object_get(call->body, "machine_config") == NULL &&
        json_object_set_new(call->body, "machine_config", json_object()) != 0) {
        return error_oom(err);
    }
    return spec_apply_defaults(call->api->setup.spec, "VmCreate", call->body, err);
}

static int create(struct call *call, struct vm_row *row, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_LOOK look = {0};
    if (fill_row(call->body, row, err) != 0 || db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (insert(call, row, err) != 0) {
        return -1;
    }
    vm_look_at(api, row, &look);
    struct written written = {
        .subject = &vm_subject, .kind = WRITE_CREATE, .id = row->id, .identity = row->uid, .look = &look};
    if (written_store(api, &call->origin, &written, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "vm", row->id);
    if (json_object_get(call->body, "firewall") != NULL) {
        call_wake(api, "firewall", ""); /* a policy is in force when the firewall's reconciler has seen it, and guarded from then on */
    }
    return written_reply(&call->origin, &written, reply, err);
}

int vm_handle_create(struct call *call, struct api_reply *reply, struct error *err)
{
    struct vm_row row = {0};
    int result = apply_defaults(call, err) == 0 ? create(call, &row, reply, err) : -1;
    vm_row_free(&row);
    return result;
}
