/* What was made for WireGuard on the host: the worker's own memory of it. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/memory.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <string.h>

static void add_table(struct wireguard_record *record, uint32_t table)
{
    for (size_t i = 0; i < record->table_count; i++) {
        if (record->tables[i] == table) {
            return;
        }
    }
    if (record->table_count < WIREGUARD_RECORDS_MAX) {
        record->tables[record->table_count++] = table;
    }
}

static void add_tunnel(struct wireguard_record *record, const char *name)
{
    for (size_t i = 0; i < record->tunnel_count; i++) {
        if (strcmp(record->tunnels[i], name) == 0) {
            return;
        }
    }
    if (record->tunnel_count < WIREGUARD_RECORDS_MAX) {
        (void)snprintf(record->tunnels[record->tunnel_count++], INTERFACE_NAME_MAX, "%s", name);
    }
}

bool wireguard_record_is_empty(const struct wireguard_record *record)
{
    return record->table_count == 0 && record->tunnel_count == 0 && record->tuned[0] == '\0';
}

static void read_tuned(const json_t *tuned, struct wireguard_record *ret)
{
    const char *name = json_get_string(tuned, "interface");
    if (name != NULL) {
        (void)snprintf(ret->tuned, sizeof ret->tuned, "%s", name);
        ret->forwarding = json_get_bool(tuned, "forwarding", false);
        ret->forwarding6 = json_get_bool(tuned, "forwarding6", false);
        ret->rp_filter = (int)json_get_int(tuned, "rp_filter", 0);
    }
}

int wireguard_record_load(struct memory *memory, struct wireguard_record *ret, struct error *err)
{
    AUTO_FREE char *text = memory_get(memory, MEMORY_WIREGUARD_MADE);
    AUTO_JSON *json = NULL;
    size_t i = 0;
    json_t *item = NULL;
    *ret = (struct wireguard_record){.table_count = 0};
    if (text == NULL) {
        return error_oom(err);
    }
    if (text[0] != '\0' && json_parse(text, strlen(text), &json, err) != 0) {
        return -1;
    }
    json_array_foreach(json_object_get(json, "tables"), i, item)
    {
        add_table(ret, (uint32_t)json_integer_value(item));
    }
    json_array_foreach(json_object_get(json, "tunnels"), i, item)
    {
        if (json_is_string(item)) {
            add_tunnel(ret, json_string_value(item));
        }
    }
    read_tuned(json_object_get(json, "tuned"), ret);
    return 0;
}

static int store(struct memory *memory, const struct wireguard_record *record, struct error *err)
{
    AUTO_JSON_BUILD tables = json_build_array();
    AUTO_JSON_BUILD tunnels = json_build_array();
    AUTO_JSON_BUILD json = json_build_object();
    for (size_t i = 0; i < record->table_count; i++) {
        json_build_add(&tables, json_integer(record->tables[i]));
    }
    for (size_t i = 0; i < record->tunnel_count; i++) {
        json_build_add(&tunnels, json_string(record->tunnels[i]));
    }
    json_build_put(&json, "tables", json_build_take(&tables));
    json_build_put(&json, "tunnels", json_build_take(&tunnels));
    if (record->tuned[0] != '\0') {
        json_build_put(&json, "tuned",
                       json_pack("{s:s, s:b, s:b, s:i}", "interface", record->tuned, "forwarding", (int)record->forwarding, "forwarding6",
                                 (int)record->forwarding6, "rp_filter", record->rp_filter));
    }
    AUTO_FREE char *text = json_text(json.value);
    return text == NULL ? error_oom(err) : memory_set(memory, MEMORY_WIREGUARD_MADE, text, err);
}

int wireguard_record_before(struct wireguard_work *work, struct error *err)
{
    if (!work->row.wanted) {
        return 0;
    }
    if (work->rule_count > 0) {
        add_table(&work->record, work->config.route_table);
    }
    if (work->config.managed) {
        add_tunnel(&work->record, work->config.interface_name);
    }
    return store(work->worker->memory, &work->record, err);
}

int wireguard_record_after(struct wireguard_work *work, struct error *err)
{
    work->record.table_count = 0;
    work->record.tunnel_count = 0;
    return work->row.wanted ? wireguard_record_before(work, err) : store(work->worker->memory, &work->record, err);
}

int wireguard_record_tuned(struct wireguard_work *work, struct error *err)
{
    return store(work->worker->memory, &work->record, err);
}
