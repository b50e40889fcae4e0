/*
 * What one process says to the other: a message as it comes by the socket, and a question of the API process (which may have been taken over) with the
 * worker's answer to it. Questions that look at the host are left out: tests/fuzz/kernel.c has what they find there.
 */
#include "core/cleanup.h"
#include "core/config.h"
#include "core/frame.h"
#include "core/ipc.h"
#include "core/json.h"
#include "keeper/keeper.h"
#include "worker/border/border.h"
#include "worker/context.h"
#include "worker/question.h"
#include "tests/unit/db/ready.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/smartvm-fuzz-XXXXXX";

static void clean(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static void give_up(void *ctx)
{
    (void)ctx;
    abort(); /* this keeper is honest */
}

static int keepers_end;

static void *keep(void *db)
{
    (void)keeper_run(db, keepers_end);
    return NULL;
}

/* With a keeper at the other end, in a thread. */
static struct border *make_border(const char *path)
{
    static const struct border_setup setup = {.give_up = give_up};
    static struct db *db;
    struct border *border = NULL;
    pthread_t thread;
    int pair[2];
    if (open_ready(path, &db, NULL) != 0 || border_new(&setup, &border, NULL) != 0 || frame_pair(pair, NULL) != 0) {
        abort();
    }
    keepers_end = pair[1];
    border_connect(border, pair[0]);
    if (pthread_create(&thread, NULL, keep, db) != 0) {
        abort();
    }
    return border;
}

static struct worker *make_worker(void)
{
    static char root[] = "/srv/img";
    static char *roots[] = {root};
    static struct config config = {.run_dir = dir, .images = {.allowed_roots = roots, .allowed_root_count = 1}};
    static struct worker worker = {.config = &config, .mark = "smartvm_fuzz"};
    char path[64];
    if (mkdtemp(dir) == NULL || atexit(clean) != 0) {
        abort();
    }
    (void)snprintf(path, sizeof path, "%s/db", dir);
    worker.border = make_border(path);
    return &worker;
}

static void answer(const char *question)
{
    static struct worker *worker;
    AUTO_FREE char *text = NULL;
    AUTO_JSON *parsed = NULL;
    int fd = -1;
    worker = worker == NULL ? make_worker() : worker;
    if (question_is_slow(question) || strstr(question, "firewall_counters") != NULL) {
        return;
    }
    question_answer(worker, question, -1, &text, &fd);
    if (text == NULL || json_parse(text, strlen(text), &parsed, NULL) != 0 ||
        (json_object_get(parsed, "answer") == NULL) == (json_object_get(parsed, "error") == NULL)) {
        abort();
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int pair[2] = {-1, -1};
    struct ipc_message message = {.fd = -1};
    bool closed = false;
    if (pair[0] < 0 && ipc_pair(pair, NULL) != 0) {
        abort();
    }
    if (size == 0 || send(pair[0], data, size, MSG_DONTWAIT) != (ssize_t)size) {
        return 0;
    }
    if (ipc_receive(pair[1], &message, &closed, NULL) == 0) {
        if (message.type == IPC_QUESTION) {
            answer(message.text);
        }
        ipc_message_free(&message);
    }
    if (closed || ipc_receive(pair[1], &message, &closed, NULL) == 0) {
        abort(); /* one datagram is one message, malformed or not */
    }
    return 0;
}
