#include "worker/question.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/limits.h"
#include "host/nft/drops.h"
#include "host/nft/nft.h"
#include "host/store/store.h"
#include "host/vmm/console.h"
#include "worker/border/wanted.h"
#include "worker/drift.h"
#include "worker/firewall/firewall.h"
#include "worker/host_facts.h"
#include "worker/network/listeners.h"
#include "worker/plan.h"
#include "worker/vm/console_hub.h"
#include "worker/wireguard/wireguard.h"

#include <stdio.h>
#include <string.h>

static json_t *read_manifest(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    const struct config *config = worker->config;
    const char *path = json_get_string(question, "path");
    AUTO_FREE char *text = NULL;
    size_t len = 0;
    json_t *manifest = NULL;
    (void)ret_fd;
    if (path == NULL || store_read_allowed((const char *const *)config->images.allowed_roots, config->images.allowed_root_count, path, LIMIT_MANIFEST_BYTES,
                                           &text, &len, err) != 0) {
        return NULL;
    }
    if (json_parse(text, len, &manifest, err) != 0) {
        err->code = ERR_INVALID_MANIFEST;
        (void)error_prefix(err, "%.512s", path);
        return NULL;
    }
    return json_pack("{s:o}", "manifest", manifest);
}

/* The runtime directory of a VM that exists: the name comes from the database, never from the question alone. */
static int runtime_dir(struct worker *worker, const json_t *question, char *buf, size_t size, int64_t *ret_uid, struct error *err)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    const char *id = json_get_string(question, "vm");
    if (id == NULL || border_vm_get(worker->border, id, &row, &found, err) != 0) {
        return id == NULL ? error_set(err, ERR_BAD_REQUEST, "no VM is named") : -1;
    }
    if (!found || strchr(row.id, '/') != NULL || row.id[0] == '.') {
        return error_set(err, ERR_NOT_FOUND, "there is no VM '%.64s'", id);
    }
    (void)snprintf(buf, size, "%s/vm/%s", worker->config->run_dir, row.id);
    *ret_uid = row.uid;
    return 0;
}

static json_t *console_read(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    char dir[128];
    int64_t uid = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    if (runtime_dir(worker, question, dir, sizeof dir, &uid, err) != 0) {
        return NULL;
    }
    console_hub_flush(worker->consoles, uid);
    if (console_log_open_read(dir, "console.log", ret_fd, NULL) == 0 && console_log_begin(*ret_fd, worker->config->vmm.console_bytes, &begin, &end, err) != 0) {
        return NULL;
    }
    return json_pack("{s:I, s:I}", "begin", (json_int_t)begin, "end", (json_int_t)end);
}

static json_t *console_input(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    char dir[128];
    int64_t uid = 0;
    if (runtime_dir(worker, question, dir, sizeof dir, &uid, err) != 0) {
        return NULL;
    }
    if (console_open_input(dir, ret_fd, NULL) != 0) {
        (void)error_set(err, ERR_INVALID_STATE, "the VM does not run: its console takes no input");
        return NULL;
    }
    return json_object();
}

static json_t *drops_json(const struct nft_drops *drops)
{
    json_t *json = json_object();
    for (unsigned reason = 0; json != NULL && reason < NFT_DROP_COUNT_; reason++) {
        const char *name = nft_drop_name(reason);
        if (name != NULL && json_object_set_new(json, name, json_integer((json_int_t)drops->packets[reason])) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static int add_drops(struct worker *worker, const struct vm_interface *interface, json_t *list, struct error *err)
{
    const struct network_settings settings = worker_network(worker);
    const struct ip_addr address6 = network_address6(&settings, interface->address);
    struct nft_guest guest = {.mac = interface->mac, .address = interface->address};
    struct nft_drops drops;
    memcpy(guest.address6, address6.bytes, sizeof guest.address6);
    memcpy(guest.tap, interface->tap, sizeof guest.tap);
    if (nft_drops_get(worker->mark, &guest, &drops, err) != 0) {
        return -1;
    }
    json_t *item = json_pack("{s:s, s:s, s:o}", "iface_id", interface->iface_id, "tap", interface->tap, "dropped", drops_json(&drops));
    return json_array_append_new(list, item) == 0 ? 0 : error_oom(err);
}

static json_t *vm_drops(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    const char *id = json_get_string(question, "vm");
    (void)ret_fd;
    if (id == NULL || border_vm_get(worker->border, id, &row, &found, err) != 0) {
        (void)(id == NULL ? error_set(err, ERR_BAD_REQUEST, "no VM is named") : 0);
        return NULL;
    }
    if (!found) {
        (void)error_set(err, ERR_NOT_FOUND, "there is no VM '%.64s'", id);
        return NULL;
    }
    AUTO_JSON *list = json_array();
    for (size_t i = 0; list != NULL && i < row.interface_count; i++) {
        if (add_drops(worker, &row.interfaces[i], list, err) != 0) {
            return NULL;
        }
    }
    return json_pack("{s:O}", "network_interfaces", list);
}

static json_t *drift(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)question;
    (void)ret_fd;
    return drift_look(worker, true, err);
}

static json_t *counters(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)ret_fd;
    return firewall_counters(worker, question, err);
}

static json_t *tunnel_status(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)ret_fd;
    return wireguard_status(worker, question, err);
}

static json_t *tunnel_check_wanted(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)ret_fd;
    return wireguard_check(worker, question, err);
}

static json_t *network_check(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    const char *subnet = json_get_string(question, "subnet");
    (void)ret_fd;
    if (subnet == NULL) {
        (void)error_set(err, ERR_BAD_REQUEST, "no subnet is named");
        return NULL;
    }
    return claim_check(worker->claims, CLAIM_SUBNET, subnet, err) == 0 ? json_object() : NULL;
}

static json_t *port_listeners(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)ret_fd;
    return network_listeners(worker, question, err);
}

/* The answer is the fact, which is stored by then. */
static json_t *look_at_host(struct worker *worker, const json_t *question, int *ret_fd, struct error *err)
{
    (void)question;
    (void)ret_fd;
    return host_facts_refresh(worker, err) == 0 ? json_object() : NULL;
}

static const struct {
    const char *name;
    json_t *(*answer)(struct worker *worker, const json_t *question, int *ret_fd, struct error *err);
    bool slow;
    json_t *(*answer_with)(struct worker *worker, int handed_over, struct error *err); /* instead, of a question that comes with a descriptor */
} questions[] = {
    {"read_manifest", read_manifest, false, NULL},
    {"console_read", console_read, false, NULL},
    {"console_input", console_input, false, NULL},
    {"vm_drops", vm_drops, false, NULL},
    {"drift", drift, true, NULL},
    {"host", look_at_host, true, NULL},
    {"firewall_counters", counters, false, NULL},
    {"wireguard_status", tunnel_status, true, NULL},
    {"network_check", network_check, false, NULL},
    {"wireguard_check", tunnel_check_wanted, true, NULL},
    {"port_listeners", port_listeners, true, NULL},
    {"plan", NULL, true, plan_answer},
};

bool question_is_slow(const char *question)
{
    AUTO_JSON *parsed = NULL;
    if (json_parse(question, strlen(question), &parsed, NULL) != 0) {
        return false;
    }
    const char *name = json_get_string(parsed, "question");
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(questions); i++) {
        if (strcmp(questions[i].name, name) == 0) {
            return questions[i].slow;
        }
    }
    return false;
}

void question_answer(struct worker *worker, const char *question, int handed_over, char **ret_text, int *ret_fd)
{
    struct error err = {.code = ERR_BAD_REQUEST};
    AUTO_JSON *parsed = NULL;
    AUTO_JSON *answer = NULL;
    *ret_fd = -1;
    (void)error_set(&err, ERR_BAD_REQUEST, "the question is not known");
    if (json_parse(question, strlen(question), &parsed, &err) == 0) {
        const char *name = json_get_string(parsed, "question");
        for (size_t i = 0; name != NULL && i < ARRAY_LEN(questions); i++) {
            if (strcmp(questions[i].name, name) == 0) {
                answer = questions[i].answer != NULL ? questions[i].answer(worker, parsed, ret_fd, &err) : questions[i].answer_with(worker, handed_over, &err);
            }
        }
    }
    if (answer != NULL) {
        answer = json_pack("{s:o}", "answer", answer);
    } else {
        answer = json_pack("{s:{s:s, s:s}}", "error", "code", error_code_name(err.code), "message", err.message);
        if (*ret_fd >= 0) {
            (void)close(*ret_fd);
            *ret_fd = -1;
        }
    }
    *ret_text = json_text(answer);
}
