/* Inside worker/purge*.c: one removal. Each step counts in `count` what it removed; what is gone already is no failure. */
#ifndef SMARTVM_WORKER_PURGE_STEPS_H
#define SMARTVM_WORKER_PURGE_STEPS_H

#include "core/config.h"
#include "worker/memory.h"

struct uids;

struct purge_work {
    const struct config *config;
    char mark[CONFIG_MARK_MAX];
    struct memory *memory; /* NULL: there is none, or it can't be read */
    bool has_state, has_run;
    struct uids *uids; /* only while they are given back */
    size_t count, left;
};

void purge_tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void purge_open_memory(struct purge_work *work);

/* purge_host.c */
int purge_routes(struct purge_work *work, struct error *err);
int purge_parameters(struct purge_work *work, struct error *err);

/* purge_files.c */
int purge_staged(struct purge_work *work, struct error *err);
int purge_run_dir(struct purge_work *work, struct error *err);
int purge_state_dir(struct purge_work *work, struct error *err);

#endif
