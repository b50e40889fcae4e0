/* Adding a file to the store: read once, checked, unpacked when it is a packed kernel, flushed, and only then
 * named. */
#include "host/store/store.h"

#include "core/cleanup.h"
#include "host/store/copy.h"
#include "host/store/initrd_image.h"
#include "host/store/kernel_image.h"
#include "host/store/room.h"
#include "host/store/rootfs_image.h"
#include "host/store/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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
        return error_sys(err, room_error_code(errno, ERR_SYSTEM), errno, "cannot make a file in %s/tmp",
                         root);
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
    return error_set(err, ERR_INVALID_MANIFEST, "%s has %" PRIu64 " bytes and should have %" PRId64,
                     request->path, bytes, request->expected_bytes);
}

/* What can be told before a byte is read. */
static int check_before(const struct store_request *request, const struct stat *st, int store_fd,
                        struct error *err)
{
    uint64_t size = (uint64_t)st->st_size;
    uint64_t data = (uint64_t)st->st_blocks * 512; /* stat(2): always in units of 512 */
    if (size > request->max_bytes) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "%s has %" PRIu64 " bytes, more than %" PRIu64,
                         request->path, size, request->max_bytes);
    }
    if (request->expected_bytes >= 0 && size != (uint64_t)request->expected_bytes) {
        return wrong_size(request, size, err);
    }
    if (request->expected_sha256 != NULL && !sha256_hex_is_valid(request->expected_sha256)) {
        return error_set(err, ERR_INVALID_MANIFEST, "\"%s\" is not a SHA-256 digest",
                         request->expected_sha256);
    }
    return room_check(store_fd, data < size ? data : size, request->path, err);
}

static int check_after(const struct store_request *request, const char *sha256, uint64_t bytes,
                       struct error *err)
{
    if (request->expected_bytes >= 0 && bytes != (uint64_t)request->expected_bytes) {
        return wrong_size(request, bytes, err); /* it changed while it was read */
    }
    if (request->expected_sha256 != NULL && strcmp(request->expected_sha256, sha256) != 0) {
        return error_set(err, ERR_DIGEST_MISMATCH, "%s has the SHA-256 digest %s and should have %s",
                         request->path, sha256, request->expected_sha256);
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
static int take_in(const struct store_request *request, struct draft *draft, struct store_result *result,
                   struct error *err)
{
    AUTO_CLOSE int from = -1;
    struct stat st = {0};
    if (store_source_open(request->allowed_roots, request->allowed_root_count, request->path, &from, &st,
                          err) != 0 ||
        check_before(request, &st, draft->fd, err) != 0) {
        return -1;
    }
    const struct store_copy copy = {.from = from,
                                    .to = draft->fd,
                                    .name = request->path,
                                    .max_bytes = request->max_bytes,
                                    .progress = request->progress,
                                    .cancel = request->cancel};
    if (store_copy_run(&copy, result->source_sha256, &result->size_bytes, err) != 0 ||
        check_after(request, result->source_sha256, result->size_bytes, err) != 0 || check_unchanged(request, from, &st, err) != 0) {
        return -1;
    }
    memcpy(result->sha256, result->source_sha256, sizeof result->sha256);
    return 0;
}

/* A file of ours as memory: nobody else has it, so it cannot shrink under the reader. */
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
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot look at a file of the store");
    }
    if (st.st_size == 0) {
        *ret = (struct view){NULL, 0};
        return 0;
    }
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot map a file of the store");
    }
    *ret = (struct view){bytes, (size_t)st.st_size};
    return 0;
}

static int unpack_into(const struct view *packed, const struct store_request *request, struct draft *unpacked,
                       struct store_result *result, struct error *err)
{
    AUTO_VIEW view = {NULL, 0};
    if (kernel_image_unpack(packed->bytes, packed->len, unpacked->fd, request->max_bytes, err) != 0 ||
        view_open(unpacked->fd, &view, err) != 0) {
        return -1;
    }
    if (kernel_image_check_elf(view.bytes, view.len, err) != 0) {
        return error_prefix(err, "%s is a bzImage, and what is packed in it", request->path);
    }
    const struct store_copy hash_only = {.from = unpacked->fd,
                                         .to = -1,
                                         .name = request->path,
                                         .max_bytes = request->max_bytes,
                                         .cancel = request->cancel};
    if (lseek(unpacked->fd, 0, SEEK_SET) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the unpacked kernel");
    }
    return store_copy_run(&hash_only, result->sha256, &result->size_bytes, err);
}

/* Replaces the draft by the ELF that is packed in it; an ELF stays as it is. */
static int take_kernel(const char *root, const struct store_request *request, const struct view *view, struct draft *draft,
                       struct store_result *result, struct error *err)
{
    AUTO_DRAFT unpacked = DRAFT_INIT;
    if (kernel_image_is_elf(view->bytes, view->len)) {
        return kernel_image_check_elf(view->bytes, view->len, err);
    }
    if (draft_make(root, &unpacked, err) != 0) {
        return -1;
    }
    if (unpack_into(view, request, &unpacked, result, err) != 0) {
        return -1;
    }
    struct draft packed = *draft; /* dropped here, in place of the other */
    *draft = unpacked;
    unpacked = packed;
    return 0;
}

/* Is it what it is to be? The bytes that are looked at are those that get the name. */
static int look_at_source(const char *root, const struct store_request *request, struct draft *draft, struct store_result *result, struct error *err)
{
    AUTO_VIEW view = {NULL, 0};
    int status = 0;
    if (request->use == STORE_ANYTHING) {
        return 0;
    }
    if (view_open(draft->fd, &view, err) != 0) {
        return -1;
    }
    switch (request->use) {
    case STORE_ANYTHING:
        break;
    case STORE_KERNEL:
        return take_kernel(root, request, &view, draft, result, err);
    case STORE_ROOTFS:
        status = rootfs_image_check(view.bytes, view.len, request->rootfs_type, err);
        break;
    case STORE_INITRD:
        status = initrd_image_check(view.bytes, view.len, request->max_bytes, err);
        break;
    }
    if (status != 0 && err != NULL && err->code != ERR_OUT_OF_MEMORY) {
        struct error words = *err;
        return error_set(err, words.code, "%s %s", request->path, words.message);
    }
    return status;
}

int store_add(const char *root, const struct store_request *request, struct store_result *ret,
              struct error *err)
{
    AUTO_DRAFT draft = DRAFT_INIT;
    struct store_result result = {0};
    if (draft_make(root, &draft, err) != 0 || take_in(request, &draft, &result, err) != 0 ||
        look_at_source(root, request, &draft, &result, err) != 0 ||
        draft_publish(&draft, root, result.sha256, err) != 0) {
        return -1;
    }
    *ret = result;
    return 0;
}
