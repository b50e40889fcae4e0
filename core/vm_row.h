/*
 * A VM as it is stored: what is wanted (written by the API process) and what was observed (written by the worker). db/vms.h stores it, and
 * core/message.h carries it to the worker.
 *
 * What a client wants of it is a document (core/vm_config.h), whose text is stored: `config_text`. Who has read a row makes `config` of it, by
 * vm_row_read_config(). Beside it stands what SQL searches, orders or keeps unique, and what is counted.
 */
#ifndef SMARTVM_CORE_VM_ROW_H
#define SMARTVM_CORE_VM_ROW_H

#include "core/ip_net.h"
#include "core/limits.h"
#include "core/net_addr.h"
#include "core/record.h"
#include "core/vm_config.h"

enum vm_state { VM_CREATING, VM_STOPPED, VM_STARTING, VM_RUNNING, VM_PAUSED, VM_STOPPING, VM_DELETING, VM_FAILED, VM_STATE_COUNT_ };

enum vm_desired { VM_WANT_RUNNING, VM_WANT_STOPPED, VM_WANT_PAUSED, VM_DESIRED_COUNT_ };

const char *vm_state_name(enum vm_state state);
bool vm_state_parse(const char *name, enum vm_state *ret);
const char *vm_desired_name(enum vm_desired desired);
bool vm_desired_parse(const char *name, enum vm_desired *ret);

struct vm_interface {
    char *iface_id;
    char tap[INTERFACE_NAME_MAX];
    struct mac mac;
    uint32_t address;
};

struct vm_row {
    int64_t uid; /* never reused, unlike id */
    char *id;
    /* wanted */
    char *image;             /* the document's, of which there is an image, whose row stays as long */
    char *config_text;       /* the document */
    struct vm_config config; /* the same, read; zeroed before */
    bool is_damaged;         /* the document can't be read: `config` has defaults, and is not stored */
    enum vm_desired desired;
    int64_t stop_timeout_ms; /* of the stop that is wanted: -1 the configured one, 0 kill */
    int64_t boot_wanted;     /* goes up by one for each reboot */
    bool deleting;
    int64_t generation;
    char request[REQUEST_TEXT_MAX]; /* that the last change came with */
    /* observed */
    enum vm_state state;
    int64_t observed_generation;
    char *observed;            /* JSON object with the members that the API shows: vmm, conditions, timings, last_exit, error, drives */
    int64_t pid, start_time;   /* of the VMM process, 0 when there is none */
    char boot_id[40];          /* of the host, when pid was written */
    int64_t boot_done;         /* boot_wanted of the process that runs or ran last */
    char *boot_config;         /* the document that the process which runs was started by; "": there is none, or nobody knows */
    int64_t restart_count;     /* boots that the worker wanted by itself */
    int64_t restart_boot;      /* boot_wanted of the last one of them */
    int64_t restart_streak;    /* so many of them in a row */
    int64_t restart_due_ms;    /* when it is due: CLOCK_MONOTONIC */
    bool restart_keeps_drives; /* it goes on with the drives that are there */
    int64_t revision;          /* goes up with each write: the ETag */
    int64_t created_ms, updated_ms;
    struct vm_interface *interfaces;
    size_t interface_count;
};

/* A boot that the worker wants by itself. */
struct vm_restart {
    int64_t boot, streak, due_ms;
    bool keeps_drives;
};

void vm_row_free(struct vm_row *row); /* what it points to; harmless on a zeroed one */
#define AUTO_VM_ROW __attribute__((cleanup(vm_row_free))) struct vm_row
void vm_rows_free(struct vm_row *rows, size_t count);

/*
 * Reads `config_text` into `config`, and compares it with what stands beside it: the image, the interfaces. ROW_DAMAGED when it is no document, or another
 * one's; `config` is zeroed then.
 */
int vm_row_read_config(struct vm_row *row, struct error *err);

extern const struct record_table vm_row_record;
extern const struct record_table vm_port_record;

#endif
