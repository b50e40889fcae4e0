/* What is known of the userspace implementation's process: whether it has ended, and why. */
#include "core/cleanup.h"
#include "host/process/process.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <string.h>

enum { END_MS = 200 /* from the end of its link to that of the process */ };

static void put(int *fd, int value)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = value;
}

/* With the lock held. */
static void collect(struct wireguard_memory *memory, int wait_ms)
{
    int status = -1;
    if (memory->process >= 0 && process_wait(memory->process, wait_ms, &status, NULL) == 0) {
        put(&memory->process, -1);
        (void)process_status_text(status, memory->ended);
    }
}

void wireguard_process_reap(struct worker *worker)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    collect(memory, 0);
    if (memory->process >= 0 && memory->words >= 0) {
        wireguard_words_make_room(memory->words);
    }
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
}

static void replace(struct worker *worker, int process, int words)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    put(&memory->process, process);
    put(&memory->words, words);
    memory->ended[0] = '\0';
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
}

void wireguard_process_started(struct worker *worker, int process, int words)
{
    replace(worker, process, words);
}

void wireguard_process_stopped(struct worker *worker)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    collect(memory, END_MS);
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
    replace(worker, -1, -1);
}

void wireguard_process_adopt(struct worker *worker, const char *interface)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    AUTO_CLOSE int process = -1;
    if (memory->words < 0 && wireguard_go_find(worker->mark, interface, &process, NULL) == 0 && process >= 0) {
        replace(worker, -1, wireguard_words_of(process));
    }
}

void wireguard_process_why(struct worker *worker, char *ret, size_t size)
{
    struct wireguard_memory *memory = &worker->wireguard.memory;
    char words[WIREGUARD_WORDS_MAX];
    (void)pthread_mutex_lock(&worker->wireguard.lock);
    collect(memory, END_MS);
    wireguard_words_last(memory->words, words, sizeof words);
    const char *colon = words[0] != '\0' ? ": " : "";
    ret[0] = '\0';
    if (memory->ended[0] != '\0') {
        (void)snprintf(ret, size, "; wireguard-go ended with %s%s%s", memory->ended, colon, words);
    } else if (memory->words >= 0) {
        (void)snprintf(ret, size, "; wireguard-go has ended%s%s", colon, words);
    }
    (void)pthread_mutex_unlock(&worker->wireguard.lock);
}
