/* A keeper in a thread of the test, with a database of its own, and the worker's end of the border to it. */
#ifndef SMARTVM_TESTS_UNIT_WORKER_BORDER_KEEPER_BOX_H
#define SMARTVM_TESTS_UNIT_WORKER_BORDER_KEEPER_BOX_H

#include "core/frame.h"
#include "keeper/keeper.h"
#include "tests/unit/db/ready.h"
#include "worker/border/wanted.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

struct keeper_box {
    char dir[64], path[128];
    struct db *db;  /* the keeper's */
    struct db *own; /* the test's, as the API process has it */
    struct border *border;
    pthread_t thread;
    int socket;
    enum keeper_end end;
    unsigned given_up, spared;
    char spared_key[64];
};

static inline void box_give_up(void *ctx)
{
    ((struct keeper_box *)ctx)->given_up++;
}

static inline void box_spared(void *ctx, const char *list, const char *key, const struct error *why)
{
    struct keeper_box *box = ctx;
    (void)list;
    (void)why;
    box->spared++;
    (void)snprintf(box->spared_key, sizeof box->spared_key, "%s", key);
}

static inline void *box_run(void *arg)
{
    struct keeper_box *box = arg;
    box->end = keeper_run(box->db, box->socket);
    (void)close(box->socket);
    return NULL;
}

static inline void keeper_box_open(struct keeper_box *box)
{
    struct error err = {0};
    int pair[2];
    const struct border_setup setup = {.give_up = box_give_up, .spared = box_spared, .ctx = box};
    (void)snprintf(box->dir, sizeof box->dir, "/tmp/keeper-box-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(box->dir));
    (void)snprintf(box->path, sizeof box->path, "%s/db", box->dir);
    ck_assert_msg(open_ready(box->path, &box->db, &err) == 0 && db_open(box->path, DB_API, &box->own, &err) == 0, "%s", err.message);
    ck_assert_msg(border_new(&setup, &box->border, &err) == 0 && frame_pair(pair, &err) == 0, "%s", err.message);
    box->socket = pair[1];
    border_connect(box->border, pair[0]);
    ck_assert_int_eq(pthread_create(&box->thread, NULL, box_run, box), 0);
}

static inline void keeper_box_close(struct keeper_box *box)
{
    static const char *const files[] = {"db", "db-wal", "db-shm", "db.damaged", "db.damaged-wal", "db.damaged-shm"};
    border_free(box->border);
    (void)pthread_join(box->thread, NULL);
    db_close(box->own);
    db_close(box->db);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[160];
        (void)snprintf(file, sizeof file, "%s/%s", box->dir, files[i]);
        (void)unlink(file);
    }
    (void)rmdir(box->dir);
}

#endif
