/* VMs and images. */
#include "core/cleanup.h"
#include "worker/border/ask.h"
#include "worker/border/wanted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row of another VM than the one that was asked for is no answer. */
static int check_asked(const char *id, const char *got, struct error *err)
{
    return strcmp(id, got) == 0 ? 0 : error_set(err, ERR_ROW_DAMAGED, "the row of another one was given for '%s'", id);
}

int border_vm_get(struct border *border, const char *id, struct vm_row *ret, bool *ret_found, struct error *err)
{
    struct message_vm_id question = {.id = ""};
    struct message_vm vms;
    (void)snprintf(question.id, sizeof question.id, "%s", id);
    if (border_ask(border, MESSAGE_VM_GET, &question, &vms, err) != 0) {
        return -1;
    }
    *ret_found = vms.count > 0;
    int result = vms.count > 0 ? check_asked(id, vms.items[0].id, err) : 0;
    if (vms.count > 0 && result == 0) {
        result = vm_row_read_config(&vms.items[0], err);
    }
    if (vms.count > 0 && result == 0) {
        *ret = vms.items[0];
        memset(&vms.items[0], 0, sizeof vms.items[0]);
    }
    record_free(message_types[MESSAGE_VM_GET].answer, &vms);
    return result;
}

struct vm_list {
    struct vm_row *rows;
    size_t count;
};

/* Takes the rows of a page over, but for those whose document can't be read. */
static int add_page(struct border *border, struct vm_list *list, struct message_vms *page, struct error *err)
{
    struct vm_row *grown = reallocarray(list->rows, list->count + page->count + 1, sizeof *grown);
    if (grown == NULL) {
        return error_oom(err);
    }
    list->rows = grown;
    for (size_t i = 0; i < page->count; i++) {
        struct error why = {0};
        if (vm_row_read_config(&page->items[i], &why) == 0) {
            grown[list->count++] = page->items[i];
            memset(&page->items[i], 0, sizeof page->items[i]);
        } else if (why.code == ERR_ROW_DAMAGED) {
            border_spare(border, "vm", page->items[i].id, &why);
        } else {
            return error_set(err, why.code, "%s", why.message);
        }
    }
    return 0;
}

static int ask_page(struct border *border, const char *after, const enum vm_state *state, size_t limit, struct message_vms *ret, struct error *err)
{
    struct message_vm_page question = {.has_state = state != NULL, .state = state != NULL ? *state : VM_CREATING, .limit = (uint32_t)limit};
    (void)snprintf(question.after, sizeof question.after, "%s", after);
    return border_ask(border, MESSAGE_VM_LIST, &question, ret, err);
}

int border_vm_list(struct border *border, const enum vm_state *state, struct vm_row **ret, size_t *ret_count, struct error *err)
{
    struct vm_list list = {.rows = NULL};
    char after[LIMIT_VM_ID_BYTES + 1] = "";
    int result = 0;
    bool more = true;
    /* Ids only grow, so that a keeper that gives the same page again and again comes to an end. */
    while (result == 0 && more && list.count <= LIMIT_VMS) {
        struct message_vms page;
        if (ask_page(border, after, state, LIMIT_VM_PAGE, &page, err) != 0) {
            result = -1;
            break;
        }
        more = page.count > 0;
        if (more && strcmp(page.items[page.count - 1].id, after) <= 0) {
            result = error_set(err, ERR_ROW_DAMAGED, "the list of VMs does not come in order");
        } else if (more) {
            (void)snprintf(after, sizeof after, "%s", page.items[page.count - 1].id);
        }
        result = result == 0 ? add_page(border, &list, &page, err) : result;
        record_free(message_types[MESSAGE_VM_LIST].answer, &page);
    }
    if (result != 0) {
        vm_rows_free(list.rows, list.count);
        return -1;
    }
    *ret = list.rows;
    *ret_count = list.count;
    return 0;
}

int border_vm_any(struct border *border, enum vm_state state, bool *ret, struct error *err)
{
    struct message_vms page;
    if (ask_page(border, "", &state, 1, &page, err) != 0) {
        return -1;
    }
    *ret = page.count > 0;
    record_free(message_types[MESSAGE_VM_LIST].answer, &page);
    return 0;
}

int border_vm_report(struct border *border, const struct message_vm_report *report, bool *ret_changed, struct error *err)
{
    return border_ask_flag(border, MESSAGE_VM_REPORT, report, ret_changed, err);
}

int border_vm_give_up_running(struct border *border, int64_t uid, int64_t generation, bool *ret_changed, struct error *err)
{
    const struct message_vm_generation question = {.uid = uid, .generation = generation};
    return border_ask_flag(border, MESSAGE_VM_GIVE_UP_RUNNING, &question, ret_changed, err);
}

int border_vm_forget(struct border *border, const struct vm_row *row, struct error *err)
{
    struct message_vm_key question = {.uid = row->uid};
    (void)snprintf(question.id, sizeof question.id, "%s", row->id);
    return border_tell(border, MESSAGE_VM_FORGET, &question, err);
}

int border_vm_restore(struct border *border, const struct message_vm_restore *vm, struct error *err)
{
    return border_tell(border, MESSAGE_VM_RESTORE, vm, err);
}

int border_image_get(struct border *border, const char *id, struct image_row *ret, bool *ret_found, struct error *err)
{
    const struct message_image_id question = {.id = border_only_read(id)};
    struct message_images images;
    if (border_ask(border, MESSAGE_IMAGE_GET, &question, &images, err) != 0) {
        return -1;
    }
    *ret_found = images.count > 0;
    int result = images.count > 0 ? check_asked(id, images.items[0].id, err) : 0;
    if (images.count > 0 && result == 0) {
        *ret = images.items[0];
        memset(&images.items[0], 0, sizeof images.items[0]);
    }
    record_free(message_types[MESSAGE_IMAGE_GET].answer, &images);
    return result;
}

int border_image_report(struct border *border, const struct image_row *row, const enum event_type *event, struct error *err)
{
    struct image_row copy = *row;
    const struct message_image_report question = {.items = &copy, .count = 1, .has_event = event != NULL, .event = event != NULL ? *event : EVENT_IMAGE_READY};
    return border_tell(border, MESSAGE_IMAGE_REPORT, &question, err);
}

int border_image_needs_file(struct border *border, const char *sha256, const char *except, bool *ret, struct error *err)
{
    const struct message_image_file question = {.sha256 = border_only_read(sha256), .except = border_only_read(except)};
    struct message_flag needed;
    if (border_ask(border, MESSAGE_IMAGE_NEEDS_FILE, &question, &needed, err) != 0) {
        return -1;
    }
    *ret = needed.value;
    return 0;
}

int border_image_forget(struct border *border, const char *id, struct error *err)
{
    const struct message_image_id question = {.id = border_only_read(id)};
    return border_tell(border, MESSAGE_IMAGE_FORGET, &question, err);
}

static int quarantine(struct border *border, enum message_kind kind, const char *id, const char *observed, bool *ret_changed, struct error *err)
{
    const struct message_quarantine question = {.id = border_only_read(id), .observed = border_only_read(observed)};
    struct message_flag changed;
    if (border_ask(border, kind, &question, &changed, err) != 0) {
        return -1;
    }
    *ret_changed = changed.value;
    return 0;
}

int border_vm_quarantine(struct border *border, const char *id, const char *observed, bool *ret_changed, struct error *err)
{
    return quarantine(border, MESSAGE_VM_QUARANTINE, id, observed, ret_changed, err);
}

int border_image_quarantine(struct border *border, const char *id, const char *observed, bool *ret_changed, struct error *err)
{
    return quarantine(border, MESSAGE_IMAGE_QUARANTINE, id, observed, ret_changed, err);
}

int border_vm_wish(struct border *border, const char *id, struct message_vm_wish *ret, struct error *err)
{
    struct message_vm_id question = {.id = ""};
    (void)snprintf(question.id, sizeof question.id, "%s", id);
    return border_ask(border, MESSAGE_VM_WISH, &question, ret, err);
}

int border_vm_want_restart(struct border *border, int64_t uid, const struct vm_restart *restart, bool *ret_changed, struct error *err)
{
    const struct message_vm_restart question = {.uid = uid, .restart = *restart};
    return border_ask_flag(border, MESSAGE_VM_WANT_RESTART, &question, ret_changed, err);
}

/* What the keeper gave is of this network, and of this VM. */
static int take_interfaces(const struct network_settings *settings, const struct vm_row *given, struct vm_row *row, struct error *err)
{
    if (given->uid != row->uid || given->interface_count != row->interface_count) {
        return error_set(err, ERR_ROW_DAMAGED, "the interfaces of another VM were given for '%s'", row->id);
    }
    for (size_t i = 0; i < row->interface_count; i++) {
        if (!network_has_address(settings, given->interfaces[i].address) || !network_has_tap(settings, given->interfaces[i].tap)) {
            return error_set(err, ERR_ROW_DAMAGED, "an address, or the name of a TAP, of another network was given for '%s'", row->id);
        }
    }
    for (size_t i = 0; i < row->interface_count; i++) {
        row->interfaces[i].address = given->interfaces[i].address;
        memcpy(row->interfaces[i].tap, given->interfaces[i].tap, sizeof row->interfaces[i].tap);
    }
    row->revision = given->revision;
    return 0;
}

int border_vm_readdress(struct border *border, const struct network_settings *settings, struct vm_row *row, struct error *err)
{
    struct message_vm_readdress question = {
        .uid = row->uid, .subnet = settings->subnet.address, .prefix = settings->subnet.prefix, .lease_quarantine_s = settings->lease_quarantine_s};
    struct message_vm given;
    (void)snprintf(question.id, sizeof question.id, "%s", row->id);
    (void)snprintf(question.bridge, sizeof question.bridge, "%s", settings->bridge);
    if (border_ask(border, MESSAGE_VM_READDRESS, &question, &given, err) != 0) {
        return -1;
    }
    int result = given.count == 1 ? take_interfaces(settings, &given.items[0], row, err) : error_set(err, ERR_ROW_DAMAGED, "no row of '%s' was given", row->id);
    record_free(message_types[MESSAGE_VM_READDRESS].answer, &given);
    return result;
}
