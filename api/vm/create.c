/* POST /vms: one transaction from the checks that need the store to the answer that is stored with them. */
#include "api/firewall/firewall.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/vm/boot_args.h"
#include "api/vm/config.h"
#include "api/vm/network.h"
#include "api/vm/ports.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/log.h"
#include "db/events.h"
#include "db/images.h"
#include "db/reservations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void vm_check_create(struct call *call)
{
    vm_config_check_create(call);
    firewall_check_policy(call, json_object_get(call->body, "firewall"), "/firewall");
}

/* A new VM, and what is reserved for it. */
struct creation {
    struct vm_row row;
    struct reservation size;
    struct vm_listeners *listeners; /* NULL: it publishes nothing */
};

static struct vm_row *row_of(const struct write *write)
{
    struct creation *creation = write->state;
    return &creation->row;
}

int vm_check_memory(const struct capacity_host *host, unsigned mem_size_mib, struct error *err)
{
    if (host->memory_mib != CAPACITY_UNKNOWN && (int64_t)mem_size_mib > host->memory_mib) {
        return error_set(err, ERR_INSUFFICIENT_MEMORY, "the VM is to have %u MiB, and the host has %lld", mem_size_mib, (long long)host->memory_mib);
    }
    return 0;
}

/* With the reason for which its import failed. */
static int image_not_ready(const struct image_row *image, struct error *err)
{
    AUTO_JSON *observed = NULL;
    if (image->state != IMAGE_FAILED) {
        return error_set(err, ERR_IMAGE_NOT_READY, "image '%s' is %s", image->id, image_state_name(image->state));
    }
    if (json_parse(image->observed, strlen(image->observed), &observed, err) != 0) {
        return -1;
    }
    const char *message = json_get_string(json_object_get(observed, "error"), "message");
    return error_set(err, ERR_IMAGE_NOT_READY, "the import of image '%s' has failed: %s", image->id, message != NULL ? message : "-");
}

/* *ret_drive_bytes: what its writable drives take. */
static int check_image(struct api *api, const char *id, int64_t *ret_drive_bytes, struct error *err)
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
        return image_not_ready(&image, err);
    }
    if (strstr(image.manifest, "\"arch\":\"x86_64\"") == NULL) {
        return error_set(err, ERR_INVALID_CONFIG, "image '%s' is for another architecture than this host's, x86_64", id);
    }
    *ret_drive_bytes = capacity_drive_bytes(&image);
    return 0;
}

static int check_count(struct api *api, struct error *err)
{
    int64_t count = 0;
    if (vms_count(api->db, &count, err) != 0) {
        return -1;
    }
    return count < LIMIT_VMS ? 0 : error_set(err, ERR_TOO_MANY_REQUESTS, "there are %d VMs, the most there can be", LIMIT_VMS);
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

static int fill_interfaces(struct vm_row *row, struct error *err)
{
    const size_t count = row->config.interface_count;
    if (count == 0) {
        return 0;
    }
    row->interfaces = calloc(count, sizeof *row->interfaces);
    if (row->interfaces == NULL) {
        return error_oom(err);
    }
    row->interface_count = count;
    for (size_t i = 0; i < count; i++) {
        row->interfaces[i].iface_id = strdup(row->config.interfaces[i].iface_id);
        if (row->interfaces[i].iface_id == NULL) {
            return error_oom(err);
        }
    }
    return 0;
}

/* `body` has its defaults. */
static int fill_row(const json_t *body, struct vm_row *row, struct error *err)
{
    const char *id = json_get_string(body, "id");
    if (vm_config_read(body, &row->config, err) != 0) {
        return -1;
    }
    row->observed = strdup("{}");
    row->boot_config = strdup("");
    if (row->observed == NULL || row->boot_config == NULL) {
        return error_oom(err);
    }
    (void)vm_desired_parse(json_get_string(body, "desired_state"), &row->desired);
    row->id = id != NULL ? strdup(id) : make_id(err);
    if (row->id == NULL) {
        return id != NULL ? error_oom(err) : -1;
    }
    return fill_interfaces(row, err);
}

/* What it takes of the host, if there is so much left. */
static int admit(struct write *write, int64_t drive_bytes, struct error *err)
{
    struct creation *creation = write->state;
    const struct vm_config *config = &creation->row.config;
    const struct reservation nothing = {.memory_mib = 0};
    struct capacity_host host;
    if (capacity_of_host(write->call->api, &host, err) != 0 || vm_check_memory(&host, config->machine.mem_size_mib, err) != 0) {
        return -1;
    }
    creation->size = reservation_of(config, drive_bytes, &host);
    return capacity_admit(write->call, &host, &nothing, &creation->size, err);
}

static int find(struct write *write, struct error *err)
{
    struct vm_row *row = row_of(write);
    AUTO_VM_ROW existing = {0};
    bool exists = false;
    if (vms_get(write->call->api->db, row->id, &existing, &exists, err) != 0) {
        return -1;
    }
    if (exists) {
        (void)etag_vm(&existing, write->version);
    }
    return 0;
}

static int change(struct write *write, struct error *err)
{
    struct api *api = write->call->api;
    struct vm_row *row = row_of(write);
    int64_t drive_bytes = 0;
    if (write->version[0] != '\0') { /* said before the store would, since that is after an address was looked for */
        return error_set(err, ERR_ALREADY_EXISTS, "a VM with the id '%s' exists", row->id);
    }
    return check_image(api, row->config.image, &drive_bytes, err) != 0 || check_count(api, err) != 0 || admit(write, drive_bytes, err) != 0 ||
                   vm_network_allocate(api, row, err) != 0 || vm_check_boot_args(write->call, row, err) != 0
               ? -1
               : 0;
}

static int store(struct write *write, struct error *err)
{
    struct api *api = write->call->api;
    struct creation *creation = write->state;
    struct vm_row *row = &creation->row;
    return vms_insert(api->db, row, err) != 0 || reservations_set(api->db, row->uid, &creation->size, err) != 0 ||
                   vm_ports_store(write->call, row, creation->listeners, NULL, err) != 0 ||
                   firewall_store_new(api, row->uid, json_object_get(write->call->body, "firewall"), err) != 0
               ? -1
               : 0;
}

static int add_event(struct write *write, struct error *err)
{
    const struct vm_row *row = row_of(write);
    AUTO_STRBUF data = STRBUF_INIT;
    strbuf_addf(&data, "{\"image\":\"%s\",\"desired_state\":\"%s\"}", row->config.image, vm_desired_name(row->desired));
    return data.failed ? error_oom(err) : events_add(write->call->api->db, EVENT_VM_CREATED, "vm", row->id, data.data, err);
}

static int look(struct write *write, struct error *err)
{
    const struct vm_row *row = row_of(write);
    (void)err;
    vm_look_at(write->call->api, row, &write->look);
    write_set_id(write, row->id);
    write->identity = row->uid;
    write->goal.up = row->desired != VM_WANT_STOPPED;
    write->goal.guest = write->goal.up && write->call->origin.wait_for_guest;
    return 0;
}

static void committed(struct write *write)
{
    const struct call *call = write->call;
    const struct vm_row *row = row_of(write);
    log_event(LOG_INFO, "vm.created", "vm", row->id, "image", row->config.image, "request", call->origin.request_id, NULL);
    call_wake(call->api, "vm", row->id);
    if (json_object_get(call->body, "firewall") != NULL) {
        call_wake(call->api, "firewall", ""); /* a policy is in force when the firewall's reconciler has seen it, and guarded from then on */
    }
}

static int apply_defaults(struct call *call, struct error *err)
{
    /* Its members have defaults also where it is left out itself. */
    if (json_object_get(call->body, "machine_config") == NULL && json_object_set_new(call->body, "machine_config", json_object()) != 0) {
        return error_oom(err);
    }
    return spec_apply_defaults(call->api->setup.spec, "VmCreate", call->body, err);
}

/* The body with its defaults, as a row. Not in the transaction: nothing of it needs the store. */
static int prepare(struct write *write, struct error *err)
{
    return apply_defaults(write->call, err) == 0 ? fill_row(write->call->body, row_of(write), err) : -1;
}

static int ask(struct write *write, struct write_question *ret, struct error *err)
{
    return vm_ports_ask(write->call, ret, err);
}

static int answered(struct write *write, const json_t *answer, struct error *err)
{
    struct creation *creation = write->state;
    return vm_ports_answered(answer, &creation->listeners, err);
}

static void free_state(void *state)
{
    struct creation *creation = state;
    vm_row_free(&creation->row);
    free(creation->listeners);
}

int vm_handle_create(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &vm_subject,
                                             .kind = WRITE_CREATE,
                                             .state_size = sizeof(struct creation),
                                             .free_state = free_state,
                                             .prepare = prepare,
                                             .ask = ask,
                                             .answered = answered,
                                             .find = find,
                                             .change = change,
                                             .store = store,
                                             .event = add_event,
                                             .look = look,
                                             .wish = vm_write_wish,
                                             .committed = committed};
    return write_run(call, &steps, reply, err);
}
