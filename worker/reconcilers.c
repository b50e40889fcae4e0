#include "worker/reconcilers.h"

#include "core/cleanup.h"
#include "core/names.h"
#include "worker/border/wanted.h"
#include "worker/firewall/firewall.h"
#include "worker/image/image.h"
#include "worker/network/network.h"
#include "worker/news.h"
#include "worker/tasks.h"
#include "worker/telling.h"
#include "worker/vm/row_copy.h"
#include "worker/vm/runtime.h"
#include "worker/vm/vm.h"
#include "worker/wireguard/wireguard.h"

#include <stdio.h>
#include <string.h>

static int reconcile_network(struct worker *worker, const char *id, struct error *err)
{
    int64_t generation = worker_network(worker).generation;
    int64_t egress_generation = worker_egress_generation(worker);
    enum network_state before = atomic_load(&worker->network_state);
    (void)id;
    int result = network_reconcile(worker, err);
    /* VMs that waited for the network, and TAPs that lost their bridge. */
    bool remade = atomic_exchange(&worker->bridge_remade, false);
    if ((remade || generation != worker_network(worker).generation || before != atomic_load(&worker->network_state)) &&
        reconcilers_look_before_ready(worker, result == 0 ? err : NULL) != 0) {
        atomic_store(&worker->bridge_remade, true);
        result = -1;
    }
    if (egress_generation != worker_egress_generation(worker)) {
        (void)queue_add(worker->queue, "wireguard");
    }
    return result;
}

static int reconcile_firewall(struct worker *worker, const char *id, struct error *err)
{
    (void)id;
    return firewall_reconcile(worker, err);
}

static int reconcile_wireguard(struct worker *worker, const char *id, struct error *err)
{
    (void)id;
    return wireguard_reconcile(worker, err);
}

static int store_events(struct worker *worker, const char *id, struct error *err)
{
    (void)id;
    return tell_waiting(worker, err);
}

/* Whoever works on a key looks afterwards whether everything is settled. */
static int do_nothing(struct worker *worker, const char *id, struct error *err)
{
    (void)worker;
    (void)id;
    (void)err;
    return 0;
}

static bool is_number(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < 19 && strspn(text, "0123456789") == len;
}

static const struct reconciler {
    const char *kind;
    bool (*is_id)(const char *id); /* NULL: there is one only, whose key is the kind */
    bool is_import;                /* waits in the queue of imports */
    bool is_own;                   /* the API process does not name it */
    int (*reconcile)(struct worker *worker, const char *id, struct error *err);
} reconcilers[] = {
    {"network", NULL, false, false, reconcile_network},
    {"firewall", NULL, false, false, reconcile_firewall},
    {"wireguard", NULL, false, false, reconcile_wireguard},
    {"task", is_number, false, false, task_reconcile},
    {"vm", name_is_vm_id, false, false, vm_reconcile},
    {"image", name_is_image_id, true, false, image_reconcile},
    {"tap", name_is_interface, false, true, news_of_tap},
    {"events", NULL, false, true, store_events},
    {"settled", NULL, false, true, do_nothing},
};

/* *ret_id: what stands behind the kind, "" for nothing. NULL when it is a key of no kind. */
static const struct reconciler *reconciler_of(const char *key, const char **ret_id)
{
    for (size_t i = 0; i < ARRAY_LEN(reconcilers); i++) {
        const struct reconciler *reconciler = &reconcilers[i];
        size_t len = strlen(reconciler->kind);
        if (strncmp(key, reconciler->kind, len) != 0) {
            continue;
        }
        bool has_id = key[len] == '/';
        *ret_id = has_id ? key + len + 1 : "";
        if (reconciler->is_id == NULL ? key[len] == '\0' : has_id && reconciler->is_id(*ret_id)) {
            return reconciler;
        }
    }
    return NULL;
}

int reconcile_key(struct worker *worker, const char *key, struct error *err)
{
    const char *id = "";
    if (strcmp(key, QUEUE_EVERYTHING) == 0) {
        return reconcilers_queue_all(worker, err);
    }
    const struct reconciler *reconciler = reconciler_of(key, &id);
    return reconciler != NULL ? reconciler->reconcile(worker, id, err) : error_set(err, ERR_BAD_REQUEST, "'%s' is a key of no kind", key);
}

static void queue_key(struct worker *worker, const char *key)
{
    const char *id = "";
    const struct reconciler *reconciler = reconciler_of(key, &id);
    if (reconciler != NULL && !reconciler->is_own) {
        (void)queue_add(reconciler->is_import ? worker->image_queue : worker->queue, key);
    }
}

void reconcilers_wake(struct worker *worker, const char *key)
{
    if (key[0] == '\0') {
        (void)queue_add(worker->queue, QUEUE_EVERYTHING);
    } else {
        queue_key(worker, key);
    }
}

static void add_vms(struct worker *worker, const struct message_keys *keys)
{
    char key[QUEUE_KEY_MAX];
    for (size_t i = 0; i < keys->vm_count; i++) {
        (void)snprintf(key, sizeof key, "vm/%s", keys->vms[i].id);
        queue_key(worker, key);
    }
}

static void add_others(struct worker *worker, const struct message_keys *keys)
{
    char key[QUEUE_KEY_MAX];
    for (size_t i = 0; i < ARRAY_LEN(reconcilers); i++) {
        if (reconcilers[i].is_id == NULL && !reconcilers[i].is_own) {
            queue_key(worker, reconcilers[i].kind);
        }
    }
    for (size_t i = 0; i < keys->task_count; i++) {
        (void)snprintf(key, sizeof key, "task/%lld", (long long)keys->tasks[i].id);
        queue_key(worker, key);
    }
    for (size_t i = 0; i < keys->image_count; i++) {
        (void)snprintf(key, sizeof key, "image/%.128s", keys->images[i].id);
        queue_key(worker, key);
    }
}

static void add_remembered(const char *id, void *ctx)
{
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "vm/%s", id);
    queue_key(ctx, key);
}

/* VMs whose rows are lost have no keys any more, and their numbers may be given to others: what is remembered of them is looked at, too. */
int reconcilers_restore(struct worker *worker, struct error *err)
{
    bool anew = atomic_exchange(&worker->database_anew, false);
    if (vm_rows_restore(worker, anew, err) != 0) {
        atomic_store(&worker->database_anew, anew);
        return -1;
    }
    if (anew) {
        runtimes_each_id(worker->runtimes, add_remembered, worker);
    }
    return 0;
}

int reconcilers_queue_all(struct worker *worker, struct error *err)
{
    struct message_keys keys;
    if (atomic_load(&worker->database_anew) && reconcilers_restore(worker, err) != 0) {
        return -1;
    }
    if (border_keys(worker->border, &keys, err) != 0) {
        return -1;
    }
    add_others(worker, &keys);
    add_vms(worker, &keys);
    border_keys_free(&keys);
    return 0;
}

int reconcilers_look_before_ready(struct worker *worker, struct error *err)
{
    if (reconcilers_queue_all(worker, err) != 0) {
        return -1;
    }
    queue_mark(worker->queue);
    return 0;
}

int reconcilers_queue_vms(struct worker *worker, struct error *err)
{
    struct message_keys keys;
    if (border_keys(worker->border, &keys, err) != 0) {
        return -1;
    }
    add_vms(worker, &keys);
    border_keys_free(&keys);
    return 0;
}
