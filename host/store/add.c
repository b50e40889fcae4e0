/* Adding a file to the store: read once, checked, unpacked when it is a packed kernel, flushed, and only then
 * named. */
#include "host/store/store.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "host/store/copy.h"
#include "host/store/room.h"
#include "host/store/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A file in <root>/tmp, removed unless it gets its name. */
struct draft {
    int fd;
    char path[PATH_MAX];
};

#define DRAFT_INIT ((struct draft){-1, ""})

static void draft_drop(struct draft *draft)
{
    cleanup_close(&draft->fd);
    if (draft->path[0] != '\0') {
        (void)unlink(draft->path);
    }
    *draft = DRAFT_INIT;
}

#define AUTO_DRAFT __attribute__((cleanup(draft_drop))) struct draft

static int draft_make(const char *root, struct draft *ret, struct error *err)
{
    struct draft draft;
    int len = snprintf(draft.path, sizeof draft.path, "%s/tmp/add-XXXXXX", root);
    if (len < 0 || (size_t)len >= sizeof draft.path) {
        return error_set(err, ERR_SYSTEM, "the path of the store is too long");
    }
    draft.fd = mkostemp(draft.path, O_CLOEXEC); /* mode 0600 */
    if (draft.fd < 0) {
        return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot make a file in %s/tmp", root);
    }
    *ret = draft;
    return 0;
}

static int flush_dir(const char *root, struct error *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/sha256", root);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot flush %s", path);
    }
    return 0;
}

/* One that is there already has the same bytes, and perhaps VMs that share its pages: it stays. */
static int draft_publish(struct draft *draft, const char *root, const char *sha256, struct error *err)
{
    char path[PATH_MAX];
    if (!store_path(root, sha256, path, sizeof path)) {
        return error_set(err, ERR_SYSTEM, "the path of the store is too long");
    }
    if (fchmod(draft->fd, 0444) != 0 || fsync(draft->fd) != 0) {
        return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot flush %s", path);
    }
    int result = renameat2(AT_FDCWD, draft->path, AT_FDCWD, path, RENAME_NOREPLACE);
    if (result != 0 && errno == EEXIST) {
        draft_drop(draft);
        return flush_dir(root, err);
    }
    if (result != 0 && errno == EINVAL) { /* a file system without the flag */
        result = rename(draft->path, path);
    }
    if (result != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot name %s", path);
    }
    draft->path[0] = '\0';
    return flush_dir(root, err);
}

static int wrong_size(const struct store_request *request, uint64_t bytes, struct error *err)
{
    return error_set(err, ERR_INVALID_MANIFEST, "%s has %" PRIu64 " bytes and should have %" PRId64, request->path, bytes, request->expected_bytes);
}

/* What can be told before a byte is read. */
static int check_before(const struct store_request *request, const struct stat *st, int store_fd, struct error *err)
{
    uint64_t size = (uint64_t)st->st_size;
    uint64_t data = (uint64_t)st->st_blocks * 512; /* stat(2): always in units of 512 */
    if (size > request->max_bytes) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "%s has %" PRIu64 " bytes, more than %" PRIu64, request->path, size, request->max_bytes);
    }
    if (request->expected_bytes >= 0 && size != (uint64_t)request->expected_bytes) {
        return wrong_size(request, size, err);
    }
    if (request->expected_sha256 != NULL && !sha256_hex_is_valid(request->expected_sha256)) {
        return error_set(err, ERR_INVALID_MANIFEST, "\"%s\" is not a SHA-256 digest", request->expected_sha256);
    }
    return room_check(store_fd, data < size ? data : size, request->path, err);
}

static int check_after(const struct store_request *request, const char *sha256, uint64_t bytes, struct error *err)
{
    if (request->expected_bytes >= 0 && bytes != (uint64_t)request->expected_bytes) {
        return wrong_size(request, bytes, err); /* it changed while it was read */
    }
    if (request->expected_sha256 != NULL && strcmp(request->expected_sha256, sha256) != 0) {
        return error_set(err, ERR_DIGEST_MISMATCH, "%s has the SHA-256 digest %s and should have %s", request->path, sha256, request->expected_sha256);
    }
    return 0;
}

/* A copy of a file that somebody writes to is neither what was nor what is: the digest, where one is given, has told. */
static int check_unchanged(const struct store_request *request, int from, const struct stat *before, struct error *err)
{
    struct stat now;
    if (request->expected_sha256 != NULL) {
        return 0;
    }
    if (fstat(from, &now) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot look at %s", request->path);
    }
    if (now.st_size != before->st_size || now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec) {
        return error_set(err, ERR_INVALID_MANIFEST, "%s was changed while it was read: try again when it is whole", request->path);
    }
    return 0;
}

/* Reads the given file into the draft. */
static int take_in(const struct store_request *request, struct draft *draft, struct store_result *result, struct error *err)
{
    AUTO_CLOSE int from = -1;
    struct stat st = {0};
    if (store_source_open(request->allowed_roots, request->allowed_root_count, request->path, &from, &st, err) != 0 ||
        check_before(request, &st, draft->fd, err) != 0) {
        return -1;
    }
    const struct store_copy copy = {
        .from = from, .to = draft->fd, .name = request->path, .max_bytes = request->max_bytes, .progress = request->progress, .cancel = request->cancel};
    if (store_copy_run(&copy, result->source_sha256, &result->size_bytes, err) != 0 ||
        check_after(request, result->source_sha256, result->size_bytes, err) != 0 || check_unchanged(request, from, &st, err) != 0) {
        return -1;
    }
    memcpy(result->sha256, result->source_sha256, sizeof result->sha256);
    return 0;
}

/* The same file for one who shall only read it: what was hashed stays what it was. */
static int open_to_read(int fd, int *ret, struct error *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *ret = open(path, O_RDONLY | O_CLOEXEC);
    return *ret < 0 ? error_sys(err, ERR_SYSTEM, errno, "cannot open a file of the store") : 0;
}

/* Puts the file's name before the words of the inspector, which go on where it ends; those about a kernel speak of "the kernel" by themselves. */
static int tell_fault(const struct store_request *request, bool unpacked, struct error *err)
{
    if (err == NULL || err->code == ERR_OUT_OF_MEMORY) {
        return -1;
    }
    const struct error words = *err;
    if (request->use != STORE_KERNEL) {
        return error_set(err, words.code, "%s %s", request->path, words.message);
    }
    return unpacked ? error_prefix(err, "%s is a bzImage, and what is packed in it", request->path) : -1;
}

/* What was written into the draft by somebody who is believed nothing: by now nobody else has it. */
static int measure(const struct store_request *request, const struct draft *unpacked, struct store_result *result, struct error *err)
{
    const struct store_copy hash_only = {.from = unpacked->fd, .to = -1, .name = request->path, .max_bytes = request->max_bytes, .cancel = request->cancel};
    if (lseek(unpacked->fd, 0, SEEK_SET) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the unpacked kernel");
    }
    return store_copy_run(&hash_only, result->sha256, &result->size_bytes, err);
}

/* Is it what it is to be? The bytes that are looked at are those that get the name. A kernel that is packed is replaced by what is packed in it. */
static int look_at_source(const char *root, const struct store_request *request, struct draft *draft, struct store_result *result, struct error *err)
{
    AUTO_DRAFT unpacked = DRAFT_INIT;
    AUTO_CLOSE int in = -1;
    bool is_unpacked = false;
    struct inspection what = {.use = request->use, .max_bytes = request->max_bytes < LIMIT_UNPACKED_BYTES ? request->max_bytes : LIMIT_UNPACKED_BYTES};
    if (request->use == STORE_ANYTHING) {
        return 0;
    }
    if (request->use == STORE_ROOTFS) {
        (void)snprintf(what.rootfs_type, sizeof what.rootfs_type, "%s", request->rootfs_type);
    }
    if (open_to_read(draft->fd, &in, err) != 0 || (request->use == STORE_KERNEL && draft_make(root, &unpacked, err) != 0)) {
        return -1;
    }
    if (request->inspect(request->inspect_ctx, &what, in, unpacked.fd, &is_unpacked, err) != 0) {
        return tell_fault(request, is_unpacked, err);
    }
    if (!is_unpacked || request->use != STORE_KERNEL) {
        return 0;
    }
    if (measure(request, &unpacked, result, err) != 0) {
        return -1;
    }
    struct draft packed = *draft; /* dropped here, in place of the other */
    *draft = unpacked;
    unpacked = packed;
    return 0;
}

int store_add(const char *root, const struct store_request *request, struct store_result *ret, struct error *err)
{
    AUTO_DRAFT draft = DRAFT_INIT;
    struct store_result result = {0};
    if (draft_make(root, &draft, err) != 0 || take_in(request, &draft, &result, err) != 0 || look_at_source(root, request, &draft, &result, err) != 0 ||
        draft_publish(&draft, root, result.sha256, err) != 0) {
        return -1;
    }
    *ret = result;
    return 0;
}
