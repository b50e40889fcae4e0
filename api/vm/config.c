#include "api/vm/config.h"

#include "api/vm/ports.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

/* Members of the body that are not of the definition. */
static const char *const others[] = {"id", "desired_state", "firewall"};

static json_t *document_of(const json_t *body)
{
    json_t *document = json_copy((json_t *)(uintptr_t)body);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        (void)json_object_del(document, others[i]); /* also where there is none */
    }
    return document;
}

/* The schema has told what it knows; of the same place there is nothing to add. */
static void add_fault(void *ctx, const char *pointer, const char *message)
{
    struct call *call = ctx;
    for (size_t i = 0; i < call->faults.count; i++) {
        if (strcmp(call->faults.items[i].in, "body") == 0 && strcmp(call->faults.items[i].pointer, pointer) == 0) {
            return;
        }
    }
    spec_faults_add(&call->faults, "body", pointer, "%s", message);
}

static void check(struct call *call, const json_t *document)
{
    struct vm_config config;
    struct error err = {0};
    vm_ports_check(call);
    if (document == NULL || vm_config_parse(document, VM_CONFIG_ASKED, &config, add_fault, call, &err) != 0) {
        call->faults.more = call->faults.more || document == NULL || err.code == ERR_OUT_OF_MEMORY; /* what is not known must not pass */
        return;
    }
    vm_config_free(&config);
}

void vm_config_check_create(struct call *call)
{
    AUTO_JSON *document = document_of(call->body);
    if (json_is_object(call->body)) {
        check(call, document);
    }
}

/* By itself, as a change of some VM: what it is together with the VM's own shows in the transaction. */
void vm_config_check_patch(struct call *call)
{
    AUTO_JSON *some = json_pack("{s:s, s:[{s:s}]}", "image", "some", "network_interfaces", "iface_id", "some");
    AUTO_JSON *change = document_of(call->body);
    AUTO_JSON *merged = some != NULL && change != NULL ? json_merged(some, change) : NULL;
    if (json_is_object(call->body)) {
        check(call, merged);
    }
}

int vm_config_read(const json_t *body, struct vm_config *ret, struct error *err)
{
    AUTO_JSON *document = document_of(body);
    return document == NULL ? error_oom(err) : vm_config_parse(document, VM_CONFIG_ASKED, ret, NULL, NULL, err);
}

int vm_config_merge(struct call *call, struct vm_row *row, unsigned *ret_changed, struct error *err)
{
    AUTO_VM_CONFIG config = {.image = NULL};
    if (row->is_damaged) {
        return error_set(err, ERR_ROW_DAMAGED, "what is stored of VM '%s' can't be read, so nothing of it can be changed; allowed: delete", row->id);
    }
    AUTO_JSON *stored = vm_config_to_json(&row->config);
    AUTO_JSON *change = document_of(call->body);
    AUTO_JSON *merged = stored != NULL && change != NULL ? json_merged(stored, change) : NULL;
    if (merged == NULL) {
        return error_oom(err);
    }
    if (vm_config_parse(merged, VM_CONFIG_ASKED, &config, add_fault, call, err) != 0) {
        return -1;
    }
    vm_ports_keep(call->api->config, &config, &row->config);
    *ret_changed = vm_config_differences(&row->config, &config);
    vm_config_free(&row->config);
    row->config = config;
    memset(&config, 0, sizeof config);
    return 0;
}

int vm_config_of_row(struct vm_row *row, struct error *err)
{
    struct error why = {0};
    if (vm_row_read_config(row, &why) == 0) {
        return 0;
    }
    if (why.code != ERR_ROW_DAMAGED) {
        return error_set(err, why.code, "%s", why.message);
    }
    row->is_damaged = true;
    if (vm_config_defaults(&row->config, err) != 0) {
        return -1;
    }
    row->config.image = strdup(row->image != NULL ? row->image : "");
    return row->config.image != NULL ? 0 : error_oom(err);
}
