/*
 * Both ends of the border between the worker and the keeper (core/message.h). The first byte says which:
 *
 *   even: the worker's end. The input is what a keeper, which may have been taken over, says, before it is asked; the worker asks one question after
 *         the other, through the same functions as its reconcilers, until it has given the keeper up. What it takes for an answer is what the tables
 *         allow, and it never says so to a keeper that it does not believe.
 *   odd:  the keeper's end, with a database. The input is what the worker says: each frame is answered, or is the last one.
 */
#include "core/cleanup.h"
#include "core/config.h"
#include "core/frame.h"
#include "core/log.h"
#include "keeper/keeper.h"
#include "tests/unit/db/ready.h"
#include "worker/border/wanted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { WORKER_END, KEEPER_END, HEAD_BYTES = 8, BYTES_MAX = 64 * 1024, QUESTIONS_MAX = 8 * 1024 /* their answers lie in the socket */ };

static unsigned given_up;

static void give_up(void *ctx)
{
    (void)ctx;
    given_up++;
}

static void note_spared(void *ctx, const char *list, const char *key, const struct error *why)
{
    (void)ctx;
    if (list == NULL || key == NULL || why->code != ERR_ROW_DAMAGED) {
        abort();
    }
}

/* Asks each message with an empty question, and checks what it takes for an answer. */
static void ask(struct border *border, enum message_kind kind)
{
    const struct message_type *type = &message_types[kind];
    struct error err = {0};
    AUTO_FREE void *question = calloc(1, type->question->size);
    AUTO_FREE void *answer = calloc(1, type->answer->size);
    if (question == NULL || answer == NULL) {
        return;
    }
    if (border_ask(border, kind, question, answer, &err) != 0) {
        for (size_t i = 0; i < type->answer->size; i++) {
            if (((const uint8_t *)answer)[i] != 0) {
                abort(); /* nothing is left of what was no answer */
            }
        }
        return;
    }
    if (record_check(type->answer, answer, &err) != 0) {
        abort();
    }
    record_free(type->answer, answer);
}

/* Those that do more than to ask. */
static void ask_more(struct border *border)
{
    static char one[] = "a";
    static const struct config config = {.network = {.bridge = "br0"}};
    struct error err = {0};
    AUTO_VM_ROW row = {0};
    AUTO_IMAGE_ROW image = {0};
    AUTO_WIREGUARD_ROW tunnel = {0};
    struct vm_row *rows = NULL;
    struct network_settings settings;
    size_t count = 0;
    bool found = false;
    if (border_vm_get(border, one, &row, &found, &err) == 0 && found) {
        if (strcmp(row.id, one) != 0) {
            abort();
        }
        if (border_network_settings(border, &config, &settings, &err) == 0) {
            (void)border_vm_readdress(border, &settings, &row, &err);
        }
    }
    if (border_vm_list(border, NULL, &rows, &count, &err) == 0) {
        vm_rows_free(rows, count);
    }
    if (border_image_get(border, one, &image, &found, &err) == 0 && found && strcmp(image.id, one) != 0) {
        abort();
    }
    if (border_wireguard_get(border, &tunnel, &err) == 0 && tunnel.wanted && tunnel.document == NULL) {
        abort();
    }
}

static void fuzz_worker(const uint8_t *data, size_t size)
{
    const struct border_setup setup = {.give_up = give_up, .spared = note_spared};
    struct border *border = NULL;
    int pair[2];
    if (frame_pair(pair, NULL) != 0 || border_new(&setup, &border, NULL) != 0) {
        abort();
    }
    if (send(pair[1], data, size, MSG_DONTWAIT) != (ssize_t)size || shutdown(pair[1], SHUT_WR) != 0) {
        abort();
    }
    border_connect(border, pair[0]);
    given_up = 0;
    while (given_up == 0) { /* at the latest when it has said all */
        enum message_kind kind = (enum message_kind)0;
        uint16_t head[HEAD_BYTES / 2] = {0};
        if (recv(pair[0], head, sizeof head, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)sizeof head && head[2] < MESSAGE_COUNT_) {
            kind = (enum message_kind)head[2]; /* what it has an answer for: more is found so */
        }
        ask(border, kind);
        if (given_up == 0 && size % 3 == 0) {
            ask_more(border);
        }
    }
    struct error err = {0};
    struct message_keys keys;
    if (border_keys(border, &keys, &err) == 0 || given_up != 1) {
        abort(); /* one that was given up is not asked again */
    }
    border_free(border);
    (void)close(pair[1]);
}

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

static struct db *open_database(void)
{
    struct db *db = NULL;
    char path[64];
    if (mkdtemp(dir) == NULL || atexit(clean) != 0) {
        abort();
    }
    (void)snprintf(path, sizeof path, "%s/db", dir);
    if (open_ready(path, &db, NULL) != 0) {
        abort();
    }
    return db;
}

static void ask_keeper(struct db *db, const uint8_t *data, size_t size)
{
    int pair[2];
    if (frame_pair(pair, NULL) != 0) {
        abort();
    }
    if (send(pair[0], data, size, MSG_DONTWAIT) != (ssize_t)size || shutdown(pair[0], SHUT_WR) != 0) {
        abort();
    }
    if (keeper_run(db, pair[1]) == KEEPER_DAMAGED) {
        abort(); /* questions damage nothing */
    }
    (void)close(pair[1]);
    for (;;) {
        AUTO_FRAME frame = {.data = NULL};
        struct error err = {0};
        if (frame_receive(pair[0], &frame, 0, &err) != 0) {
            break;
        }
        struct message_failure failure;
        if (frame.status > MESSAGE_FAILED ||
            (frame.status == MESSAGE_FAILED && record_read(&message_failure_record, frame.data, frame.len, &failure, NULL, NULL, &err) != 0)) {
            abort();
        }
    }
    (void)close(pair[0]);
}

/* One frame after the other, of the same database: nobody asks before there is an answer. */
static void fuzz_keeper(const uint8_t *data, size_t size)
{
    static struct db *db;
    db = db == NULL ? open_database() : db;
    while (size > 0) {
        uint32_t len = UINT32_MAX;
        if (size >= HEAD_BYTES) {
            memcpy(&len, data, sizeof len);
        }
        const size_t frame = size >= HEAD_BYTES && len < size - HEAD_BYTES ? HEAD_BYTES + len : size;
        ask_keeper(db, data, frame);
        data += frame;
        size -= frame;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level((enum log_level)(LOG_ERROR + 1));
    if (size < 1 || size > BYTES_MAX) {
        return 0;
    }
    if (data[0] % 2 == WORKER_END) {
        fuzz_worker(data + 1, size - 1);
    } else if (size <= QUESTIONS_MAX) {
        fuzz_keeper(data + 1, size - 1);
    }
    return 0;
}

/* Empty records of the right shape: from these on single values are changed. */
static size_t begin(uint8_t *data, size_t max_size, unsigned seed)
{
    const enum message_kind kind = (enum message_kind)(seed / 4 % MESSAGE_COUNT_);
    const bool is_keeper = seed % 2 == KEEPER_END;
    const struct record_table *table = is_keeper ? message_types[kind].question : seed / 2 % 2 == 0 ? message_types[kind].answer : &message_failure_record;
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    AUTO_FREE void *empty = calloc(1, table->size);
    if (empty == NULL) {
        return 0;
    }
    record_write(table, empty, &bytes);
    const uint32_t len = (uint32_t)bytes.len;
    const uint16_t words[2] = {(uint16_t)kind, table == &message_failure_record ? MESSAGE_FAILED : MESSAGE_OK};
    if (bytes.failed || 1 + HEAD_BYTES + bytes.len > max_size) {
        return 0;
    }
    data[0] = is_keeper ? KEEPER_END : WORKER_END;
    memcpy(data + 1, &len, sizeof len);
    memcpy(data + 1 + sizeof len, words, sizeof words);
    memcpy(data + 1 + HEAD_BYTES, bytes.data, bytes.len);
    return 1 + HEAD_BYTES + bytes.len;
}

/* A frame whose length is wrong is soon refused: it is made right, mostly. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size < 1 + HEAD_BYTES || seed % 16 == 0) {
        size_t made = begin(data, max_size, seed / 16);
        return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
    }
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size >= 1 + HEAD_BYTES && seed % 8 != 1) {
        const uint32_t len = (uint32_t)(size - 1 - HEAD_BYTES);
        memcpy(data + 1, &len, sizeof len);
    }
    return size;
}
