/*
 * What crosses the border between the worker and the keeper: one table of messages. The worker asks, the keeper answers by db/; there is nothing
 * else. Both sides are records (core/record.h), and the worker reads an answer by the table: a value that its field does not allow is ROW_DAMAGED.
 *
 * A row that is asked for by its key comes as a list of none or one.
 */
#ifndef SMARTVM_CORE_MESSAGE_H
#define SMARTVM_CORE_MESSAGE_H

#include "core/event_type.h"
#include "core/firewall_rows.h"
#include "core/image_row.h"
#include "core/network_rows.h"
#include "core/record.h"
#include "core/task_row.h"
#include "core/vm_row.h"
#include "core/wireguard_row.h"

/* X(name in capitals, name, question, answer): the records of message_<question> and message_<answer>. */
#define MESSAGES(X) \
    X(KEYS, keys, nothing, keys) \
    X(VM_GET, vm_get, vm_id, vm) \
    X(VM_LIST, vm_list, vm_page, vms) \
    X(VM_REPORT, vm_report, vm_report, flag) \
    X(VM_GIVE_UP_RUNNING, vm_give_up_running, vm_generation, flag) \
    X(VM_WANT_RESTART, vm_want_restart, vm_restart, flag) \
    X(VM_READDRESS, vm_readdress, vm_readdress, vm) \
    X(VM_FORGET, vm_forget, vm_key, nothing) \
    X(VM_RESTORE, vm_restore, vm_restore, nothing) \
    X(VM_WISH, vm_wish, vm_id, vm_wish) \
    X(VM_QUARANTINE, vm_quarantine, quarantine, flag) \
    X(IMAGE_GET, image_get, image_id, images) \
    X(IMAGE_REPORT, image_report, image_report, nothing) \
    X(IMAGE_NEEDS_FILE, image_needs_file, image_file, flag) \
    X(IMAGE_FORGET, image_forget, image_id, nothing) \
    X(IMAGE_QUARANTINE, image_quarantine, quarantine, flag) \
    X(FACT_SET, fact_set, fact, flag) \
    X(EVENT_ADD, event_add, event, nothing) \
    X(FIREWALL_LOAD, firewall_load, nothing, firewall) \
    X(FIREWALL_POLICY_GET, firewall_policy_get, number, firewall_list) \
    X(FIREWALL_SET_GET, firewall_set_get, set_name, firewall_list) \
    X(FIREWALL_OVERDUE, firewall_overdue, number, overdue_list) \
    X(FIREWALL_ROLL_BACK, firewall_roll_back, number, number) \
    X(FIREWALL_NEXT_DEADLINE, firewall_next_deadline, nothing, number) \
    X(FIREWALL_OBSERVED_GET, firewall_observed_get, nothing, firewall_observed) \
    X(FIREWALL_OBSERVED_SET, firewall_observed_set, firewall_observed, flag) \
    X(NETWORK_OVERRIDES_GET, network_overrides_get, nothing, network_overrides) \
    X(ADDRESSES_OUTSIDE, addresses_outside, address_range, addresses) \
    X(INTERFACE_LIST, interface_list, nothing, interfaces) \
    X(ADDRESS_CHANGES, address_changes, number, flag) \
    X(TAP_OWNER, tap_owner, tap, vm_ids) \
    X(PORT_LIST, port_list, nothing, ports) \
    X(TASK_GET, task_get, number, tasks) \
    X(TASK_REPORT, task_report, task_report, nothing) \
    X(WIREGUARD_GET, wireguard_get, nothing, wireguard)

enum message_kind {
#define X(capitals, name, question, answer) MESSAGE_##capitals,
    MESSAGES(X)
#undef X
        MESSAGE_COUNT_
};

struct message_type {
    const char *name;
    const struct record_table *question, *answer;
};
extern const struct message_type message_types[MESSAGE_COUNT_];

/* The status of an answer: 0, or 1 and message_failure instead of the answer's record. */
enum { MESSAGE_OK = 0, MESSAGE_FAILED = 1 };

struct message_failure {
    enum error_code code;
    char text[512];
};
extern const struct record_table message_failure_record;

/* Facts that the worker tells, for the API to show. The names are those of db/facts.h. */
enum message_fact_name { FACT_WORKER, FACT_HOST, FACT_NETWORK, FACT_WIREGUARD, FACT_SEAL_KEY, FACT_COUNT_ };
const char *message_fact_text(enum message_fact_name fact);

/* ---- the records of questions and answers; all of them are freed with record_free() */

struct message_nothing {
    bool unused;
};
struct message_number {
    int64_t value;
};
struct message_flag {
    bool value;
};

struct message_vm_id {
    char id[LIMIT_VM_ID_BYTES + 1];
};
struct message_vm_ids {
    struct message_vm_id *items;
    size_t count;
};
struct message_vm_key {
    int64_t uid;
    char id[LIMIT_VM_ID_BYTES + 1];
};
struct message_vm_page {
    char after[LIMIT_VM_ID_BYTES + 1]; /* ids greater than this; "" for the first page */
    bool has_state;                    /* only in this state */
    enum vm_state state;
    uint32_t limit; /* at most LIMIT_VM_PAGE */
};
struct message_vms {
    struct vm_row *items;
    size_t count;
};
/* The same, but of one that was asked for by its id: who asks wants to know that it is damaged. */
struct message_vm {
    struct vm_row *items;
    size_t count;
};
/* Of a row that is not what it should be, what can be read. */
struct message_vm_wish {
    int64_t uid; /* 0: there is none */
    bool deleting;
};
/* A row that is not what it should be is left alone, and this is told of it. */
struct message_quarantine {
    char *id;
    char *observed; /* JSON: what the resource shows */
};
struct message_vm_generation {
    int64_t uid, generation;
};
/* What was observed of a VM, and the event of a new state, in one transaction. */
struct message_vm_report {
    char id[LIMIT_VM_ID_BYTES + 1];
    int64_t uid;
    enum vm_state state;
    int64_t observed_generation;
    char *observed; /* JSON */
    int64_t pid, start_time;
    char boot_id[40];
    int64_t boot_done;
    char *boot_config;        /* the document that the VMM was started by; "" */
    char *event;              /* data of "vm.state"; NULL: no event */
    enum event_type end_type; /* of the event about its end */
    char *end;                /* its data; NULL: there is none */
};
struct message_vm_restart {
    int64_t uid;
    struct vm_restart restart;
};
/* New addresses, and names of TAPs, for the interfaces that are not of this network; the answer is the whole row. */
struct message_vm_readdress {
    char id[LIMIT_VM_ID_BYTES + 1];
    int64_t uid;
    uint32_t subnet, prefix;
    char bridge[INTERFACE_NAME_MAX];
    uint32_t lease_quarantine_s;
};
/* A VM that runs, and whose row was lost with a damaged database; and its image, if that was lost, too. */
struct message_vm_restore {
    struct vm_row *items; /* one */
    size_t count;
    struct image_row *images; /* one at most */
    size_t image_count;
    bool force; /* also when the database knows that there was a VM of this number, and that it is gone */
};

struct message_image_id {
    char *id;
};
struct message_images {
    struct image_row *items;
    size_t count;
};
struct message_image_report {
    struct image_row *items; /* one */
    size_t count;
    bool has_event; /* in the same transaction */
    enum event_type event;
};
struct message_image_file {
    char *sha256;
    char *except; /* an image's id, or NULL */
};

struct message_task_id {
    int64_t id;
};
struct message_keys {
    struct message_vm_id *vms;
    size_t vm_count;
    struct message_image_id *images;
    size_t image_count;
    struct message_task_id *tasks; /* that are pending */
    size_t task_count;
};

struct message_fact {
    enum message_fact_name fact;
    char *value; /* JSON */
};
struct message_event {
    enum event_type type;
    char *kind;
    char *id;
    char *data; /* JSON */
};

struct message_firewall_list {
    struct firewall_row *items;
    size_t count;
};
/* A change that was not confirmed in time: of a VM's policy, of a set, or (both NULL) of the host-wide policy. */
struct message_overdue {
    char *vm;
    char *set;
};
struct message_overdue_list {
    struct message_overdue *items;
    size_t count;
};
struct message_set_name {
    char *name;
};

struct message_address_range {
    uint32_t first, last;
    uint32_t limit;
};
struct message_addresses {
    struct network_address_row *items;
    size_t count;
    int64_t total;
};
struct message_interfaces {
    struct interface_row *items;
    size_t count;
};
struct message_tap {
    char name[INTERFACE_NAME_MAX];
};
struct message_ports {
    struct port_row *items;
    size_t count;
};

struct message_tasks {
    struct task_row *items;
    size_t count;
};
struct message_task_report {
    int64_t id;
    char *outcome; /* JSON */
    bool ended;
};

#endif
