#include "host/store/inspect.h"

#include "core/cleanup.h"
#include "core/record.h"
#include "host/store/initrd_image.h"
#include "host/store/kernel_image.h"
#include "host/store/rootfs_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const char *const use_names[STORE_USE_COUNT_] = {"anything", "kernel", "rootfs", "initrd"};

/* ---- what it does ---- */

/* A file as memory: nobody else writes to it, so it cannot shrink under the reader. */
struct view {
    void *bytes;
    size_t len;
};

static void view_close(struct view *view)
{
    if (view->bytes != NULL) {
        (void)munmap(view->bytes, view->len);
    }
}

#define AUTO_VIEW __attribute__((cleanup(view_close))) struct view

static int view_open(int fd, struct view *ret, struct error *err)
{
    const off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "can't be looked at");
    }
    if (size == 0) {
        *ret = (struct view){NULL, 0};
        return 0;
    }
    void *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return error_sys(err, ERR_SYSTEM, errno, "can't be mapped");
    }
    *ret = (struct view){bytes, (size_t)size};
    return 0;
}

static int inspect_kernel(const struct inspection *what, const struct view *view, int out, bool *ret_unpacked, struct error *err)
{
    AUTO_VIEW unpacked = {NULL, 0};
    if (kernel_image_is_elf(view->bytes, view->len)) {
        return kernel_image_check_elf(view->bytes, view->len, err);
    }
    if (kernel_image_unpack(view->bytes, view->len, out, what->max_bytes, err) != 0 || view_open(out, &unpacked, err) != 0) {
        return -1;
    }
    *ret_unpacked = true;
    return kernel_image_check_elf(unpacked.bytes, unpacked.len, err);
}

int inspect_file(const struct inspection *what, int in, int out, bool *ret_unpacked, struct error *err)
{
    AUTO_VIEW view = {NULL, 0};
    *ret_unpacked = false;
    if (what->use == STORE_ANYTHING) {
        return 0;
    }
    if (view_open(in, &view, err) != 0) {
        return -1;
    }
    switch (what->use) {
    case STORE_KERNEL:
        return inspect_kernel(what, &view, out, ret_unpacked, err);
    case STORE_ROOTFS:
        return rootfs_image_check(view.bytes, view.len, what->rootfs_type, err);
    case STORE_INITRD:
        return initrd_image_check(view.bytes, view.len, what->max_bytes, err);
    case STORE_ANYTHING:
    case STORE_USE_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "is to be nothing that is known");
}

/* ---- what is said ---- */

void inspection_word(const struct inspection *what, char ret[INSPECTION_WORD_MAX])
{
    (void)snprintf(ret, INSPECTION_WORD_MAX, "%s:%" PRIu64 ":%s", use_names[what->use], what->max_bytes, what->rootfs_type);
}

bool inspection_parse(const char *word, struct inspection *ret)
{
    const size_t name_len = strcspn(word, ":");
    *ret = (struct inspection){.use = STORE_USE_COUNT_};
    for (int i = 0; i < STORE_USE_COUNT_; i++) {
        if (strlen(use_names[i]) == name_len && strncmp(use_names[i], word, name_len) == 0) {
            ret->use = (enum store_use)i;
        }
    }
    if (ret->use == STORE_USE_COUNT_ || word[name_len] != ':') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    ret->max_bytes = strtoull(word + name_len + 1, &end, 10);
    if (errno != 0 || end == word + name_len + 1 || *end != ':' || strlen(end + 1) >= sizeof ret->rootfs_type) {
        return false;
    }
    memcpy(ret->rootfs_type, end + 1, strlen(end + 1) + 1);
    return true;
}

struct answer {
    bool failed, unpacked;
    uint8_t code; /* enum error_code */
    char *message;
};

static const struct record_field answer_fields[] = {
    {RECORD_FIELD(answer, failed), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(answer, unpacked), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(answer, code), .type = RECORD_UINT8, .max = ERR_COUNT_ - 1},
    {RECORD_FIELD(answer, message), .type = RECORD_TEXT, .max = ERROR_MESSAGE_MAX - 1},
};
static const struct record_table answer_table = {"inspection answer", sizeof(struct answer), answer_fields, ARRAY_LEN(answer_fields)};

_Static_assert(ERR_COUNT_ <= UINT8_MAX, "a code fits its field");

bool inspection_tell(int fd, int result, bool unpacked, const struct error *found)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    char text[ERROR_MESSAGE_MAX];
    (void)snprintf(text, sizeof text, "%s", result == 0 ? "" : found->message);
    const struct answer answer = {.failed = result != 0, .unpacked = unpacked, .code = (uint8_t)(result == 0 ? 0 : found->code), .message = text};
    record_write(&answer_table, &answer, &bytes);
    return !bytes.failed && write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len;
}

/* Those of inspect_file(). */
static const enum error_code told_codes[] = {ERR_INVALID_MANIFEST, ERR_PAYLOAD_TOO_LARGE, ERR_INSUFFICIENT_STORAGE, ERR_OUT_OF_MEMORY, ERR_SYSTEM};

static enum error_code told_code(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(told_codes); i++) {
        if (told_codes[i] == (enum error_code)code) {
            return told_codes[i];
        }
    }
    return ERR_SYSTEM;
}

static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        *text = *text < ' ' || *text > '~' ? '?' : *text;
    }
}

int inspection_hear(const uint8_t *bytes, size_t len, bool *ret_unpacked, struct error *err)
{
    struct answer answer;
    *ret_unpacked = false;
    if (record_read(&answer_table, bytes, len, &answer, NULL, NULL, NULL) != 0) {
        return error_set(err, ERR_SYSTEM, "could not be looked at: the inspector's answer is none");
    }
    int result = 0;
    *ret_unpacked = answer.unpacked;
    if (answer.failed) {
        make_printable(answer.message);
        result = error_set(err, told_code(answer.code), "%s", answer.message);
    }
    record_free(&answer_table, &answer);
    return result;
}
