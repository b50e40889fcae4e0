/* VMs: get, list, delete, and the way that every write to an existing one takes. */
#include "api/vms.h"

#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "api/vm_actions.h"
#include "api/vm_json.h"
#include "api/vm_ports.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

int vm_find(struct api *api, const char *id, struct vm_row *ret, struct error *err)
{
    bool found = false;
    if (vms_get(api->db, id, ret, &found, err) != 0) {
        return -1;
    }
    return found ? 0 : error_set(err, ERR_NOT_FOUND, "there is no VM '%s'", id);
}

bool vm_is_settled(const struct vm_row *row)
{
    static const enum vm_state wanted[VM_DESIRED_COUNT_] = {
        [VM_WANT_RUNNING] = VM_RUNNING, [VM_WANT_STOPPED] = VM_STOPPED, [VM_WANT_PAUSED] = VM_PAUSED};
    return !row->deleting && row->observed_generation >= row->generation &&
           (row->state == wanted[row->desired] || row->state == VM_FAILED);
}

void vm_look_at(struct api *api, const struct vm_row *row, struct look *ret)
{
    ret->settled = vm_is_settled(row);
    (void)etag_vm(row, ret->etag);
    struct network_settings settings = api_network(api);
    vm_json(&settings, row, &ret->body);
}

static int look_vm(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret,
                   struct error *err)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    if (vms_get(api->db, id, &row, &found, err) != 0) {
        return -1;
    }
    ret->gone = !found || row.uid != identity;
    if (!ret->gone && (whole || vm_is_settled(&row))) {
        vm_look_at(api, &row, ret);
    }
    return 0;
}

const struct wait_subject vm_subject = {.kind = "vm", .path = "/vms/", .look = look_vm};

int vms_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_VM_ROW row = {0};
    AUTO_LOOK look = {0};
    if (vm_find(call->api, call->id, &row, err) != 0) {
        return -1;
    }
    vm_look_at(call->api, &row, &look);
    return look_reply(&look, 200, reply, err);
}

/* Does what is wanted differ? The strings are compared by value; most are the same pointer. */
static bool same_wanted(const struct vm_row *a, const struct vm_row *b)
{
    return a->desired == b->desired && a->vcpu_count == b->vcpu_count && a->mem_size_mib == b->mem_size_mib &&
           a->autostart == b->autostart && a->stop_timeout_ms == b->stop_timeout_ms &&
           a->boot_wanted == b->boot_wanted && a->deleting == b->deleting && strcmp(a->vmm, b->vmm) == 0 &&
           strcmp(a->boot_args, b->boot_args) == 0 && strcmp(a->labels, b->labels) == 0 && vm_ports_equal(a, b);
}

/* Inside the transaction. *old is the row as it is stored, *row as it shall be. */
static int change_row(struct call *call, vm_change_fn change, const struct vm_row *old, struct vm_row *row,
                      bool *ret_done, bool *ret_written, struct error *err)
{
    char etag[ETAG_MAX];
    if (etag_require(call, etag_vm(row, etag), err) != 0 || change(call, row, ret_done, err) != 0) {
        return -1;
    }
    *ret_written = !same_wanted(old, row);
    if (!vm_ports_equal(old, row) && vm_ports_store(call, row, err) != 0) {
        return -1;
    }
    return *ret_written ? vms_update_wanted(call->api->db, row, err) : 0;
}

int vm_write(struct call *call, enum write_kind kind, vm_change_fn change, struct api_reply *reply,
             struct error *err)
{
    struct api *api = call->api;
    AUTO_VM_ROW old = {0};
    AUTO_VM_ROW row = {0};
    AUTO_LOOK look = {0};
    bool done = false;
    bool was_written = false;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (vm_find(api, call->id, &old, err) != 0 || vm_find(api, call->id, &row, err) != 0 ||
        change_row(call, change, &old, &row, &done, &was_written, err) != 0) {
        return -1;
    }
    vm_look_at(api, &row, &look);
    look.settled = look.settled || done;
    struct written written = {
        .subject = &vm_subject, .kind = kind, .id = row.id, .identity = row.uid, .look = &look};
    if (written_store(api, &call->origin, &written, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    if (was_written) {
        call_wake(api, "vm", row.id);
    }
    return written_reply(&call->origin, &written, reply, err);
}

static int want_deletion(struct call *call, struct vm_row *row, bool *ret_done, struct error *err)
{
    (void)call;
    (void)ret_done;
    (void)err;
    row->deleting = true;
    return 0;
}

int vms_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    return vm_write(call, WRITE_DELETE, want_deletion, reply, err);
}

struct filter {
    bool has_state;
    enum vm_state state;
    const json_t *labels; /* array of "key" or "key=value", or NULL */
};

/* The stored state is what a VM that is being deleted was in; only the rest of them can be found by it. */
static const enum vm_state *stored_state(const struct filter *filter)
{
    return filter->has_state && filter->state != VM_DELETING ? &filter->state : NULL;
}

static bool labels_match(const char *text, const json_t *wanted)
{
    AUTO_JSON *labels = NULL;
    if (json_parse(text, strlen(text), &labels, NULL) != 0) {
        return false;
    }
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(wanted, i, item)
    {
        const char *pair = json_string_value(item);
        size_t key_len = strcspn(pair, "=");
        const char *value = json_string_value(json_object_getn(labels, pair, key_len));
        if (value == NULL || (pair[key_len] == '=' && strcmp(value, pair + key_len + 1) != 0)) {
            return false;
        }
    }
    return true;
}

static bool filter_matches(const struct filter *filter, const struct vm_row *row)
{
    if (filter->has_state && vm_shown_state(row) != filter->state) {
        return false;
    }
    return filter->labels == NULL || labels_match(row->labels, filter->labels);
}

struct listing {
    struct strbuf body;
    size_t limit;
    size_t count;                     /* written to the body */
    bool more;                        /* there is at least one beyond the limit */
    char last[LIMIT_VM_ID_BYTES + 1]; /* the id of the last one written */
};

static void list_row(const struct network_settings *settings, const struct vm_row *row, struct listing *listing)
{
    if (listing->count == listing->limit) {
        listing->more = true;
        return;
    }
    strbuf_add(&listing->body, listing->count > 0 ? "," : "");
    vm_json(settings, row, &listing->body);
    memcpy(listing->last, row->id, strnlen(row->id, LIMIT_VM_ID_BYTES) + 1);
    listing->count++;
}

/* Page by page of the store until the reply is full: a filter may match few. `after` is at most a cursor
 * long. */
static int fill_listing(struct api *api, const struct filter *filter, const char *after,
                        struct listing *listing, struct error *err)
{
    enum { PAGE = 256 };
    char position[129];
    struct network_settings settings = api_network(api);
    bool is_filtered = filter->has_state || filter->labels != NULL;
    size_t page = is_filtered ? PAGE : listing->limit + 1;
    memcpy(position, after, strnlen(after, sizeof position - 1) + 1);
    for (size_t count = page; count == page && !listing->more;) {
        struct vm_row *rows = NULL;
        if (vms_list(api->db, position, stored_state(filter), page, &rows, &count, err) != 0) {
            return -1;
        }
        for (size_t i = 0; i < count && !listing->more; i++) {
            if (filter_matches(filter, &rows[i])) {
                list_row(&settings, &rows[i], listing);
            }
        }
        if (count > 0) {
            memcpy(position, rows[count - 1].id, strnlen(rows[count - 1].id, LIMIT_VM_ID_BYTES) + 1);
        }
        vms_list_free(rows, count);
    }
    return 0;
}

int vms_handle_list(struct call *call, struct api_reply *reply, struct error *err)
{
    const char *cursor = json_get_string(call->parameters, "cursor");
    const char *state = json_get_string(call->parameters, "state");
    struct filter filter = {.labels = json_object_get(call->parameters, "label")};
    struct listing listing = {.limit = (size_t)json_get_int(call->parameters, "limit", 100)};
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
