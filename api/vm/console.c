/*
 * The console of a VM. Its files belong to the worker, which hands out descriptors: of the log, whose
 * positions are absolute and whose old part is a hole, and of the FIFO for input.
 */
#include "api/ask.h"
#include "api/handlers.h"
#include "api/plan.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct reader {
    char request_id[40];
    char vm[LIMIT_VM_ID_BYTES + 1];
    int64_t uid;
    bool follow;
    int64_t position; /* the next byte that is wanted */
    int fd;           /* of the log, or -1 */
};

static void free_reader(void *state)
{
    struct reader *reader = state;
    if (reader->fd >= 0) {
        (void)close(reader->fd);
    }
    free(reader);
}

static void cleanup_reader(struct reader **reader)
{
    if (*reader != NULL) {
        free_reader(*reader);
    }
}
#define AUTO_READER __attribute__((cleanup(cleanup_reader))) struct reader

/* Moves a position out of what was given back to the file system. The worker may do that at any time. */
static int64_t skip_hole(int fd, int64_t position)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return position;
    }
    if (st.st_size < position) {
        return 0; /* the log was begun anew, where holes can't be made */
    }
    off_t data = lseek(fd, position, SEEK_DATA);
    if (data >= 0) {
        return data;
    }
    return errno == ENXIO ? st.st_size : position;
}

static ssize_t read_at(int fd, char *buf, size_t size, int64_t position)
{
    ssize_t n = 0;
    do {
        n = pread(fd, buf, size, position);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* Reads from *position on. A hole that was made after it was looked for shows in a second look, and costs a
 * try more. */
static ssize_t read_log(int fd, char *buf, size_t size, int64_t *position)
{
    for (;;) {
        *position = skip_hole(fd, *position);
        ssize_t n = read_at(fd, buf, size, *position);
        if (n <= 0 || skip_hole(fd, *position) == *position) {
            return n;
        }
    }
}

static bool vm_is_there(struct api *api, const struct reader *reader)
{
    AUTO_VM_ROW row = {0};
    bool found = false;
    return vms_get(api->db, reader->vm, &row, &found, NULL) != 0 || (found && row.uid == reader->uid);
}

static ssize_t read_stream(struct api *api, struct api_reply *reply, char *buf, size_t size)
{
    struct reader *reader = reply->state;
    ssize_t n = read_log(reader->fd, buf, size, &reader->position);
    if (n > 0) {
        reader->position += n;
        return n;
    }
    return n == 0 && vm_is_there(api, reader) ? 0 : -1;
}

static void add_position(struct api_reply *reply, const char *name, int64_t position)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, position);
    reply_header(reply, name, text);
}

static int reply_history(struct reader *reader, int64_t end, struct api_reply *reply, struct error *err)
{
    AUTO_STRBUF body = STRBUF_INIT;
    char chunk[16384];
    int64_t begin = -1;
    while (reader->fd >= 0 && reader->position < end) {
        int64_t left = end - reader->position;
        int64_t before = reader->position;
        ssize_t n = read_log(reader->fd, chunk, left < (int64_t)sizeof chunk ? (size_t)left : sizeof chunk, &reader->position);
        if (n < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "the console could not be read");
        }
        if (n == 0) {
            break;
        }
        if (reader->position != before || begin < 0) { /* what was read so far is not next to this any more */
            strbuf_reset(&body);
            begin = reader->position;
        }
        strbuf_add_bytes(&body, chunk, (size_t)n);
        reader->position += n;
    }
    if (reply_body(reply, 200, "text/plain; charset=utf-8", &body, err) != 0) {
        return -1;
    }
    add_position(reply, "X-Console-Begin", begin < 0 ? reader->position : begin);
    add_position(reply, "X-Console-End", reader->position);
    return 0;
}

static const struct api_reply_ops stream_ops = {.read = read_stream, .free_state = free_reader};

static void reply_stream(struct reader *reader, struct api_reply *reply)
{
    api_reply_free(reply);
    reply->kind = API_REPLY_STREAM;
    reply->status = 200;
    reply->media_type = "text/plain; charset=utf-8";
    reply_header(reply, "Cache-Control", "no-store");
    add_position(reply, "X-Console-Begin", reader->position);
    (void)snprintf(reply->key, sizeof reply->key, "console/%s", reader->vm);
    reply->state = reader;
    reply->ops = &stream_ops;
}

/* {"begin", "end"} and a descriptor, or none where nothing was written yet. */
static void answer_read(struct api *api, struct api_reply *reply, const json_t *message, int fd)
{
    AUTO_READER *reader = ask_take_state(reply);
    struct error error;
    (void)api;
    reader->fd = fd;
    const json_t *answer = ask_answer(message, &error);
    int64_t begin = json_get_int(answer, "begin", 0);
    int64_t end = json_get_int(answer, "end", 0);
    int64_t from = reader->position < begin ? begin : reader->position;
    reader->position = from < end ? from : end;
    if (answer != NULL && reader->follow && fd >= 0) {
        reply_stream(TAKE_PTR(reader), reply);
    } else if (answer == NULL || reply_history(reader, end, reply, &error) != 0) {
        problem_reply(reply, reader->request_id, &error, NULL);
    }
}

int console_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_read, .free_state = free_reader};
    AUTO_VM_ROW row = {0};
    if (vm_find(call->api, call->id, &row, err) != 0) {
        return -1;
    }
    AUTO_READER *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return error_oom(err);
    }
    reader->fd = -1;
    reader->uid = row.uid;
    reader->follow = json_get_bool(call->parameters, "follow", false);
    reader->position = json_get_int(call->parameters, "offset", 0);
    memcpy(reader->request_id, call->origin.request_id, sizeof reader->request_id);
    (void)snprintf(reader->vm, sizeof reader->vm, "%s", row.id);
    if (ask_begin(reply, "console_read", "vm", row.id, reader, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(reader);
    return 0;
}

struct input {
    char request_id[40];
    bool dry_run;
    size_t len;
    char bytes[];
};

/* At most PIPE_BUF bytes into a FIFO that does not block: all of them or none. */
static int write_input(int fd, const struct input *input, struct error *err)
{
    ssize_t n = 0;
    do {
        n = write(fd, input->bytes, input->len);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)input->len) {
        return 0;
    }
    if (n >= 0 || errno == EAGAIN) {
        return error_set(err, ERR_CONSOLE_FULL, "the guest has not read what was typed before");
    }
    if (errno == EPIPE) {
        return error_set(err, ERR_INVALID_STATE, "nothing reads the console: the VM does not run");
    }
    return error_sys(err, ERR_SYSTEM, errno, "the console could not be written");
}

/* Of a dry run, when the console takes input: nothing of it is known beforehand but that. */
static int reply_plan(const struct input *input, struct api_reply *reply, struct error *err)
{
    char words[96];
    (void)snprintf(words, sizeof words, "%zu bytes would be typed on the console, if the guest has read what was typed before", input->len);
    const struct plan plan = {.request_id = input->request_id, .status = 204, .changes = true, .note = words};
    return plan_reply(&plan, reply, err);
}

static int finish_input(const struct input *input, int fd, struct api_reply *reply, struct error *err)
{
    if (fd < 0) {
        return error_set(err, ERR_INTERNAL, "the worker gave no descriptor");
    }
    if (input->dry_run) {
        return reply_plan(input, reply, err);
    }
    if (write_input(fd, input, err) != 0) {
        return -1;
    }
    reply_empty(reply, 204);
    return 0;
}

static void answer_input(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_FREE struct input *input = ask_take_state(reply);
    AUTO_CLOSE int fd = handed_over;
    struct error error;
    (void)api;
    if (ask_answer(message, &error) == NULL || finish_input(input, fd, reply, &error) != 0) {
        problem_reply(reply, input->request_id, &error, NULL);
    }
}

int console_handle_write(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_input, .free_state = free};
    AUTO_VM_ROW row = {0};
    if (vm_find(call->api, call->id, &row, err) != 0) {
        return -1;
    }
    AUTO_FREE struct input *input = calloc(1, sizeof *input + call->request->body_len);
    if (input == NULL) {
        return error_oom(err);
    }
    memcpy(input->request_id, call->origin.request_id, sizeof input->request_id);
    input->dry_run = call->origin.dry_run;
    memcpy(input->bytes, call->request->body, call->request->body_len);
    input->len = call->request->body_len;
    if (ask_begin(reply, "console_input", "vm", row.id, input, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(input);
    return 0;
}
