#include "api/vm/shown.h"

#include "api/call.h"
#include "api/vm/config.h"
#include "api/vm/json.h"
#include "core/cleanup.h"

#include <stdlib.h>
#include <string.h>

struct shown_vms {
    int64_t settings;                      /* generation of the network's settings that they were rendered with */
    struct shown_vm *slots[SHOWN_VMS_MAX]; /* by uid, which are given one after another */
    size_t bytes;
    struct shown_vm *passing; /* the last one that does not fit */
};

int shown_vms_new(struct shown_vms **ret, struct error *err)
{
    *ret = calloc(1, sizeof **ret);
    return *ret != NULL ? 0 : error_oom(err);
}

static void free_one(struct shown_vm *vm)
{
    if (vm != NULL) {
        free(vm->body);
        json_decref(vm->labels);
        free(vm);
    }
}

static void empty(struct shown_vms *shown)
{
    for (size_t i = 0; i < SHOWN_VMS_MAX; i++) {
        free_one(shown->slots[i]);
        shown->slots[i] = NULL;
    }
    free_one(shown->passing);
    shown->passing = NULL;
    shown->bytes = 0;
}

void shown_vms_free(struct shown_vms *shown)
{
    if (shown != NULL) {
        empty(shown);
        free(shown);
    }
}

static struct shown_vm **slot_of(struct shown_vms *shown, int64_t uid)
{
    return &shown->slots[(uint64_t)uid % SHOWN_VMS_MAX];
}

static bool is_same(const struct vm_version *a, const struct vm_version *b)
{
    return a->uid == b->uid && a->revision == b->revision && a->updated_ms == b->updated_ms && a->deleting == b->deleting && a->state == b->state &&
           strcmp(a->id, b->id) == 0;
}

static struct vm_version version_of(const struct vm_row *row)
{
    struct vm_version version = {.uid = row->uid, .revision = row->revision, .updated_ms = row->updated_ms, .state = row->state, .deleting = row->deleting};
    memcpy(version.id, row->id, strnlen(row->id, sizeof version.id - 1) + 1);
    return version;
}

static const struct shown_vm *find(struct shown_vms *shown, int64_t settings, const struct vm_version *version)
{
    const struct shown_vm *vm = *slot_of(shown, version->uid);
    if (shown->settings != settings) {
        empty(shown);
        shown->settings = settings;
        return NULL;
    }
    return vm != NULL && is_same(&vm->version, version) ? vm : NULL;
}

static struct shown_vm *render(const struct network_settings *settings, const struct vm_row *row, struct error *err)
{
    AUTO_STRBUF body = STRBUF_INIT;
    vm_json(settings, row, &body);
    struct shown_vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL) {
        (void)error_oom(err);
        return NULL;
    }
    vm->version = version_of(row);
    vm->len = body.len;
    vm->body = strbuf_take(&body);
    if (vm->body == NULL) {
        free_one(vm);
        (void)error_oom(err);
        return NULL;
    }
    etag_add_digest(etag_vm(row, vm->etag), vm->body, vm->len);
    vm->labels = json_incref(row->config.labels);
    return vm;
}

/* Takes it over, and what was in its place goes. */
static void keep(struct shown_vms *shown, struct shown_vm *vm)
{
    struct shown_vm **slot = slot_of(shown, vm->version.uid);
    shown->bytes -= *slot != NULL ? (*slot)->len : 0;
    free_one(*slot);
    *slot = NULL;
    free_one(shown->passing);
    shown->passing = NULL;
    if (vm->len > SHOWN_VM_BYTES_MAX || shown->bytes + vm->len > SHOWN_VMS_BYTES_MAX) {
        shown->passing = vm;
        return;
    }
    *slot = vm;
    shown->bytes += vm->len;
}

static int show(struct api *api, const struct network_settings *settings, struct vm_row *row, const struct shown_vm **ret, struct error *err)
{
    if (vm_config_of_row(row, err) != 0) {
        return -1;
    }
    struct shown_vm *vm = render(settings, row, err);
    if (vm == NULL) {
        return -1;
    }
    keep(api->shown_vms, vm);
    *ret = vm;
    return 0;
}

int shown_vm_of_row(struct api *api, struct vm_row *row, const struct shown_vm **ret, struct error *err)
{
    const struct network_settings settings = api_network(api);
    const struct vm_version version = version_of(row);
    *ret = find(api->shown_vms, settings.generation, &version);
    return *ret != NULL ? 0 : show(api, &settings, row, ret, err);
}

int shown_vm_of_version(struct api *api, const struct vm_version *version, const struct shown_vm **ret, struct error *err)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    const struct network_settings settings = api_network(api);
    *ret = find(api->shown_vms, settings.generation, version);
    if (*ret != NULL) {
        return 0;
    }
    if (vms_get(api->db, version->id, &row, &found, err) != 0) {
        return -1;
    }
    return found ? show(api, &settings, &row, ret, err) : 0;
}

int shown_vm_get(struct api *api, const char *id, const struct shown_vm **ret, struct error *err)
{
    struct vm_version version;
    bool found = false;
    *ret = NULL;
    if (vms_version(api->db, id, &version, &found, err) != 0) {
        return -1;
    }
    return found ? shown_vm_of_version(api, &version, ret, err) : 0;
}
