/* VMs: get, list, delete, and the way that every write to an existing one takes. */
#include "api/vm/vms.h"

#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "api/vm/actions.h"
#include "api/vm/config.h"
#include "api/vm/json.h"
#include "api/vm/label_selector.h"
#include "api/vm/ports.h"
#include "api/vm/shown.h"
#include "core/cleanup.h"
#include "core/condition.h"
#include "core/json.h"
#include "db/reservations.h"

#include <stdlib.h>
#include <string.h>

static int no_such_vm(const char *id, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "there is no VM '%s'", id);
}

int vm_find(struct api *api, const char *id, struct vm_row *ret, struct error *err)
{
    bool found = false;
    if (vms_get(api->db, id, ret, &found, err) != 0) {
        return -1;
    }
    return found ? vm_config_of_row(ret, err) : no_such_vm(id, err);
}

bool vm_is_settled(const struct vm_row *row)
{
    static const enum vm_state wanted[VM_DESIRED_COUNT_] = {[VM_WANT_RUNNING] = VM_RUNNING, [VM_WANT_STOPPED] = VM_STOPPED, [VM_WANT_PAUSED] = VM_PAUSED};
    return !row->deleting && row->observed_generation >= row->generation && (row->state == wanted[row->desired] || row->state == VM_FAILED);
}

/* What became of the guest, of a VM that is as it is wanted. *ret_failed: it will not get better. Returns whether it spoke up. */
static bool guest_spoke(const json_t *condition, struct look *ret)
{
    static const struct {
        enum condition_reason reason;
        enum error_code code;
    } failures[] = {{REASON_PANICKED, ERR_GUEST_PANICKED}, {REASON_NO_ROOT, ERR_GUEST_NO_ROOT}};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        if (condition_has_reason(condition, failures[i].reason)) {
            look_fail(ret, NULL, failures[i].code, json_get_string(condition, "message"));
        }
    }
    return condition != NULL && !condition_has_reason(condition, REASON_BOOTING);
}

/* A VM that runs, or did: one that ended cleanly before anybody looked has run. */
static int look_at_goal(const struct vm_row *row, const struct wait_goal *goal, struct look *ret, struct error *err)
{
    AUTO_JSON *observed = NULL;
    if (json_parse(row->observed, strlen(row->observed), &observed, err) != 0) {
        return -1;
    }
    if (row->state == VM_FAILED) {
        look_fail(ret, json_object_get(observed, "error"), ERR_VMM_FAILED, "the VM has failed");
    } else if (row->state != VM_PAUSED && (goal->guest || row->state != VM_RUNNING)) {
        ret->settled = guest_spoke(condition_find(json_object_get(observed, "conditions"), CONDITION_GUEST), ret) || row->state != VM_RUNNING;
    }
    return 0;
}

void vm_look_at(struct api *api, const struct vm_row *row, struct look *ret)
{
    ret->settled = vm_is_settled(row);
    (void)etag_vm(row, ret->etag);
    struct network_settings settings = api_network(api);
    vm_json(&settings, row, &ret->body);
}

static int look_vm(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    if (vms_get(api->db, id, &row, &found, err) != 0) {
        return -1;
    }
    ret->gone = !found || row.uid != identity;
    if (!ret->gone && (whole || vm_is_settled(&row))) {
        const struct shown_vm *shown = NULL;
        if (shown_vm_of_row(api, &row, &shown, err) != 0) {
            return -1;
        }
        ret->settled = vm_is_settled(&row);
        (void)etag_vm(&row, ret->etag);
        strbuf_add_bytes(&ret->body, shown->body, shown->len);
        return goal->up && ret->settled ? look_at_goal(&row, goal, ret, err) : 0;
    }
    return 0;
}

const struct wait_subject vm_subject = {.kind = "vm", .path = "/vms/", .look = look_vm};

int vms_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    const struct shown_vm *vm = NULL;
    AUTO_STRBUF body = STRBUF_INIT;
    if (shown_vm_get(call->api, call->id, &vm, err) != 0) {
        return -1;
    }
    if (vm == NULL) {
        return no_such_vm(call->id, err);
    }
    strbuf_add_bytes(&body, vm->body, vm->len);
    if (reply_json(reply, 200, &body, err) != 0) {
        return -1;
    }
    reply_header(reply, "ETag", vm->etag);
    return 0;
}

/* Does what is wanted differ? */
static bool same_wanted(const struct vm_row *a, const struct vm_row *b)
{
    return a->desired == b->desired && a->stop_timeout_ms == b->stop_timeout_ms && a->boot_wanted == b->boot_wanted && a->deleting == b->deleting &&
           vm_config_equal(&a->config, &b->config);
}

/* Does the write want it up? One that names the state does so even where it was wanted before. */
static struct wait_goal goal_of(const struct call *call, const struct vm_row *old, const struct vm_row *row)
{
    const bool changed = old->desired != row->desired || old->boot_wanted != row->boot_wanted;
    const bool named = json_get_string(call->body, "desired_state") != NULL;
    const bool up = row->desired != VM_WANT_STOPPED && !row->deleting && (changed || named);
    return (struct wait_goal){.up = up, .guest = up && call->origin.wait_for_guest};
}

int vm_write_ask(struct write *write, struct write_question *ret, struct error *err)
{
    return vm_ports_ask(write->call, ret, err);
}

int vm_write_answered(struct write *write, const json_t *answer, struct error *err)
{
    struct vm_write *vm = write->state;
    return vm_ports_answered(answer, &vm->listeners, err);
}

int vm_write_find(struct write *write, struct error *err)
{
    struct vm_write *vm = write->state;
    const struct call *call = write->call;
    if (vm_find(call->api, call->id, &vm->old, err) != 0 || vm_find(call->api, call->id, &vm->row, err) != 0) {
        return -1;
    }
    (void)etag_vm(&vm->row, write->version);
    return 0;
}

void vm_write_changed(struct write *write)
{
    const struct vm_write *vm = write->state;
    write->is_needless = same_wanted(&vm->old, &vm->row);
}

int vm_write_store(struct write *write, struct error *err)
{
    struct vm_write *vm = write->state;
    if (!vm_ports_equal(&vm->old, &vm->row) && vm_ports_store(write->call, &vm->row, vm->listeners, &vm->old.config, err) != 0) {
        return -1;
    }
    if (vm->is_resized && reservations_set(write->call->api->db, vm->row.uid, &vm->size, err) != 0) {
        return -1;
    }
    return vms_update_wanted(write->call->api->db, &vm->row, err);
}

int vm_write_look(struct write *write, struct error *err)
{
    const struct vm_write *vm = write->state;
    vm_look_at(write->call->api, &vm->row, &write->look);
    write_set_id(write, vm->row.id);
    write->identity = vm->row.uid;
    write->goal = goal_of(write->call, &vm->old, &vm->row);
    write->look.settled = write->look.settled || vm->is_done;
    return write->goal.up && write->look.settled ? look_at_goal(&vm->row, &write->goal, &write->look, err) : 0;
}

int vm_wish(struct api *api, const char *id, struct plan_wish *ret, struct error *err)
{
    ret->vms = calloc(1, sizeof *ret->vms);
    if (ret->vms == NULL) {
        return error_oom(err);
    }
    ret->vm_count = 1;
    return vm_find(api, id, ret->vms, err);
}

int vm_write_wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    return vm_wish(write->call->api, write->id, ret, err);
}

void vm_write_committed(struct write *write)
{
    call_wake(write->call->api, "vm", write->id);
}

void vm_write_free(void *state)
{
    struct vm_write *vm = state;
    vm_row_free(&vm->old);
    vm_row_free(&vm->row);
    free(vm->listeners);
}

static int want_deletion(struct write *write, struct error *err)
{
    struct vm_write *vm = write->state;
    (void)err;
    vm->row.deleting = true;
    vm_write_changed(write);
    return 0;
}

int vms_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = VM_WRITE_STEPS(WRITE_DELETE, want_deletion);
    return write_run(call, &steps, reply, err);
}

struct filter {
    bool has_state;
    enum vm_state state;
    struct label_selector labels;
};

/* The stored state is what a VM that is being deleted was in; only the rest of them can be found by it. */
static const enum vm_state *stored_state(const struct filter *filter)
{
    return filter->has_state && filter->state != VM_DELETING ? &filter->state : NULL;
}

static bool filter_matches(const struct filter *filter, const struct shown_vm *vm)
{
    if (filter->has_state && vm_shown_state(vm->version.state, vm->version.deleting) != filter->state) {
        return false;
    }
    return filter->labels.count == 0 || label_selector_matches(&filter->labels, vm->labels);
}

struct listing {
    struct strbuf body;
    size_t limit;
    size_t count;                     /* written to the body */
    bool more;                        /* there is at least one beyond the limit */
    char last[LIMIT_VM_ID_BYTES + 1]; /* the id of the last one written */
};

static void list_vm(const struct shown_vm *vm, struct listing *listing)
{
    if (listing->count == listing->limit) {
        listing->more = true;
        return;
    }
    strbuf_add(&listing->body, listing->count > 0 ? "," : "");
    strbuf_add_bytes(&listing->body, vm->body, vm->len);
    memcpy(listing->last, vm->version.id, sizeof listing->last);
    listing->count++;
}

static int list_page(struct api *api, const struct filter *filter, const struct vm_version *versions, size_t count, struct listing *listing, struct error *err)
{
    for (size_t i = 0; i < count && !listing->more; i++) {
        const struct shown_vm *vm = NULL;
        if (shown_vm_of_version(api, &versions[i], &vm, err) != 0) {
            return -1;
        }
        if (vm != NULL && filter_matches(filter, vm)) {
            list_vm(vm, listing);
        }
    }
    return 0;
}

/* Page by page of the store until the reply is full: a filter may match few. `after` is at most a cursor
 * long. */
static int fill_listing(struct api *api, const struct filter *filter, const char *after, struct listing *listing, struct error *err)
{
    enum { PAGE = 256 };
    struct vm_version versions[PAGE];
    char position[129];
    const bool is_filtered = filter->has_state || filter->labels.count > 0;
    const size_t page = is_filtered || listing->limit >= PAGE ? PAGE : listing->limit + 1;
    memcpy(position, after, strnlen(after, sizeof position - 1) + 1);
    for (size_t count = page; count == page && !listing->more;) {
        if (vms_versions(api->db, position, stored_state(filter), versions, page, &count, err) != 0 ||
            list_page(api, filter, versions, count, listing, err) != 0) {
            return -1;
        }
        const char *last = count > 0 ? versions[count - 1].id : "";
        if (strcmp(last, position) <= 0) { /* somebody planted an id that can't be one */
            break;
        }
        memcpy(position, last, sizeof versions[0].id);
    }
    return 0;
}

/* What is in the parameter `label`. */
static int read_labels(const struct call *call, struct label_selector *ret, struct error *err)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(call->parameters, "label"), i, item)
    {
        if (label_selector_add(ret, json_string_value(item), err) != 0) {
            return -1;
        }
    }
    return 0;
}

void vms_check_list(struct call *call)
{
    struct label_selector ignored = {.count = 0};
    struct error err;
    if (read_labels(call, &ignored, &err) != 0) {
        spec_faults_add(&call->faults, "query", "label", "%s", err.message);
    }
}

int vms_handle_list(struct call *call, struct api_reply *reply, struct error *err)
{
    const char *cursor = json_get_string(call->parameters, "cursor");
    const char *state = json_get_string(call->parameters, "state");
    struct filter filter = {.has_state = false};
    struct listing listing = {.limit = (size_t)json_get_int(call->parameters, "limit", 100)};
    if (read_labels(call, &filter.labels, err) != 0) {
        return -1;
    }
    filter.has_state = state != NULL && vm_state_parse(state, &filter.state);
    strbuf_add(&listing.body, "{\"items\":[");
    int result = fill_listing(call->api, &filter, cursor != NULL ? cursor : "", &listing, err);
    if (result == 0) {
        strbuf_add(&listing.body, "],\"next_cursor\":");
        json_out_string(&listing.body, listing.more ? listing.last : NULL);
        strbuf_add_char(&listing.body, '}');
        result = reply_json(reply, 200, &listing.body, err);
    }
    strbuf_free(&listing.body);
    return result;
}
