#include "host/store.h"

#include "core/cleanup.h"
#include "host/kernel_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STORE_PATH_BYTES = 512, READ_BYTES = 1 << 20, DIGEST_BYTES = 32 };

bool store_path(const char *root, const char *sha256, char *buf, size_t size)
{
    if (strlen(sha256) != SHA256_HEX_MAX - 1 || strspn(sha256, "0123456789abcdef") != SHA256_HEX_MAX - 1) {
        return false;
    }
    int len = snprintf(buf, size, "%s/sha256/%s", root, sha256);
    return len > 0 && (size_t)len < size;
}

bool store_has(const char *root, const char *sha256)
{
    char path[STORE_PATH_BYTES];
    struct stat st;
    return store_path(root, sha256, path, sizeof path) && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int make_dir(const char *root, const char *name, char *path, size_t size, struct error *err)
{
    (void)snprintf(path, size, "%s%s", root, name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", path);
    }
    return 0;
}

/* What lies in tmp is of an import that did not end: nobody can use it. */
static int empty_tmp(const char *path, struct error *err)
{
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be read", path);
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT) {
            return error_sys(err, ERR_SYSTEM, errno, "%s/%s could not be removed", path, entry->d_name);
        }
    }
    return 0;
}

int store_open(const char *root, struct error *err)
{
    char path[STORE_PATH_BYTES];
    if (make_dir(root, "", path, sizeof path, err) != 0 || make_dir(root, "/sha256", path, sizeof path, err) != 0 ||
        make_dir(root, "/tmp", path, sizeof path, err) != 0) {
        return -1;
    }
    return empty_tmp(path, err);
}

static bool is_below(const char *path, const char *root)
{
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/') {
        len--;
    }
    return strncmp(path, root, len) == 0 && (len == 1 || path[len] == '/');
}

/* The roots themselves may be symbolic links of the administrator's: they count by where they lead. */
static bool is_allowed(const char *path, const char *const *roots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *resolved = realpath(roots[i], NULL);
        if (is_below(path, resolved != NULL ? resolved : roots[i])) {
            return true;
        }
    }
    return false;
}

/*
 * Opens a regular file below one of the roots. What is judged is the path of the descriptor, after it was opened: nobody can swap a
 * link in between.
 */
static int open_allowed(const char *const *roots, size_t root_count, const char *path, int *ret, struct error *err)
{
    char link[64];
    char real[PATH_MAX];
    struct stat st;
    if (path[0] != '/') {
        return error_set(err, ERR_PATH_NOT_ALLOWED, "'%.512s' is not an absolute path", path);
    }
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return error_sys(err, errno == ENOENT ? ERR_INVALID_MANIFEST : ERR_PATH_NOT_ALLOWED, errno,
                         "'%.512s' could not be opened", path);
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, real, sizeof real - 1);
    if (len < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the path of '%.512s' could not be found out", path);
    }
    real[len] = '\0';
    if (!is_allowed(real, roots, root_count)) {
        return error_set(err, ERR_PATH_NOT_ALLOWED, "'%.400s' lies outside images.allowed_roots", path);
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_set(err, ERR_PATH_NOT_ALLOWED, "'%.512s' is not a regular file", path);
    }
    *ret = TAKE_FD(fd);
    return 0;
}


static void cleanup_digest(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static int digest_finish(EVP_MD_CTX *ctx, char ret[SHA256_HEX_MAX], struct error *err)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(ctx, bytes, &len) != 1 || len != DIGEST_BYTES) {
        return error_set(err, ERR_INTERNAL, "SHA-256 failed");
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    }
    return 0;
}

static int write_all(int fd, const char *bytes, size_t len, struct error *err)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0) {
            bool full = errno == ENOSPC || errno == EDQUOT;
            return error_sys(err, full ? ERR_INSUFFICIENT_STORAGE : ERR_SYSTEM, errno, "the store could not be written");
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads `from` to its end, hashes it, and writes it to `to` (-1: only hashed). */
static int pump(const struct store_request *request, int from, int to, char digest[SHA256_HEX_MAX], uint64_t *ret_size,
                struct error *err)
{
    __attribute__((cleanup(cleanup_digest))) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    AUTO_FREE char *buffer = malloc(READ_BYTES);
    if (ctx == NULL || buffer == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        return error_oom(err);
    }
    uint64_t total = 0;
    for (;;) {
        ssize_t n = read(from, buffer, READ_BYTES);
        if (n < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "'%.512s' could not be read", request->path);
        }
        if (n == 0) {
            break;
        }
        total += (uint64_t)n;
        if (total > request->max_bytes) {
            return error_set(err, ERR_PAYLOAD_TOO_LARGE, "'%.512s' is larger than %" PRIu64 " bytes", request->path,
                             request->max_bytes);
        }
        if (request->cancel != NULL && atomic_load(request->cancel)) {
            return error_set(err, ERR_CONFLICT, "the import was cancelled");
        }
        (void)EVP_DigestUpdate(ctx, buffer, (size_t)n);
        if (to >= 0 && write_all(to, buffer, (size_t)n, err) != 0) {
            return -1;
        }
        if (request->progress != NULL) {
            atomic_store(request->progress, total);
        }
    }
    *ret_size = total;
    return digest_finish(ctx, digest, err);
}

static int verify(const struct store_request *request, const char *digest, uint64_t size, struct error *err)
{
    if (request->expected_bytes >= 0 && (uint64_t)request->expected_bytes != size) {
        return error_set(err, ERR_INVALID_MANIFEST, "'%.512s' has %" PRIu64 " bytes, not %" PRId64, request->path, size,
                         request->expected_bytes);
    }
    if (request->expected_sha256 != NULL && strcmp(request->expected_sha256, digest) != 0) {
        return error_set(err, ERR_DIGEST_MISMATCH, "'%.512s' has the SHA-256 %s, not %s", request->path, digest,
                         request->expected_sha256);
    }
    return 0;
}

/* Only now the file gets the name that a VM boots from. */
static int put_in_place(const char *root, int fd, const char *temporary, const char *digest, struct error *err)
{
    char target[STORE_PATH_BYTES];
    char dir[STORE_PATH_BYTES];
    (void)snprintf(dir, sizeof dir, "%s/sha256", root);
    AUTO_CLOSE int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!store_path(root, digest, target, sizeof target) || dir_fd < 0 || fchmod(fd, 0444) != 0 || fsync(fd) != 0 ||
        rename(temporary, target) != 0 || fsync(dir_fd) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the file could not be put into the store");
    }
    return 0;
}

static int open_temporary(const char *root, const char *name, char *path, size_t size, struct error *err)
{
    (void)snprintf(path, size, "%s/tmp/%s.%d", root, name, (int)gettid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)error_sys(err, ERR_SYSTEM, errno, "%s could not be made", path);
    }
    return fd;
}

/* The ELF inside a checked bzImage takes its place. */
static int unpack_kernel(const char *root, const struct store_request *request, int packed, struct store_result *ret,
                         struct error *err)
{
    char path[STORE_PATH_BYTES];
    enum kernel_kind kind = KERNEL_BZIMAGE;
    AUTO_CLOSE int fd = open_temporary(root, "kernel", path, sizeof path, err);
    if (fd < 0) {
        return -1;
    }
    int result = kernel_image_unpack(packed, fd, request->max_bytes, err);
    if (result == 0 && (kernel_image_kind(fd, &kind, err) != 0 || kind != KERNEL_ELF)) {
        result = error_set(err, ERR_INVALID_MANIFEST, "what is inside '%.512s' is not an ELF kernel", request->path);
    }
    struct store_request unpacked = *request;
    unpacked.progress = NULL;
    if (result == 0 && lseek(fd, 0, SEEK_SET) == 0) {
        result = pump(&unpacked, fd, -1, ret->sha256, &ret->size_bytes, err);
    }
    if (result == 0) {
        result = put_in_place(root, fd, path, ret->sha256, err);
    }
    (void)unlink(path);
    return result;
}

static int add_from(const char *root, const struct store_request *request, int from, int to, const char *temporary,
                    struct store_result *ret, struct error *err)
{
    enum kernel_kind kind = KERNEL_ELF;
    uint64_t size = 0;
    if (pump(request, from, to, ret->source_sha256, &size, err) != 0 ||
        verify(request, ret->source_sha256, size, err) != 0 ||
        (request->is_kernel && kernel_image_kind(to, &kind, err) != 0)) {
        return -1;
    }
    if (kind == KERNEL_BZIMAGE) {
        return unpack_kernel(root, request, to, ret, err);
    }
    memcpy(ret->sha256, ret->source_sha256, sizeof ret->sha256);
    ret->size_bytes = size;
    return put_in_place(root, to, temporary, ret->sha256, err);
}

int store_add(const char *root, const struct store_request *request, struct store_result *ret, struct error *err)
{
    char temporary[STORE_PATH_BYTES];
    struct store_result result;
    struct stat st;
    int from_fd = -1;
    if (open_allowed(request->allowed_roots, request->allowed_root_count, request->path, &from_fd, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int from = from_fd;
    if (fstat(from, &st) == 0 && (uint64_t)st.st_size > request->max_bytes) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "'%.512s' is larger than %" PRIu64 " bytes", request->path,
                         request->max_bytes);
    }
    AUTO_CLOSE int to = open_temporary(root, "import", temporary, sizeof temporary, err);
    if (to < 0) {
        return -1;
    }
    int rc = add_from(root, request, from, to, temporary, &result, err);
    (void)unlink(temporary);
    if (rc == 0) {
        *ret = result;
    }
    return rc;
}

int store_remove(const char *root, const char *sha256, struct error *err)
{
    char path[STORE_PATH_BYTES];
    if (!store_path(root, sha256, path, sizeof path)) {
        return error_set(err, ERR_INTERNAL, "'%.80s' is no digest", sha256);
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be removed", path);
    }
    return 0;
}

int store_list(const char *root, char (**ret)[SHA256_HEX_MAX], size_t *ret_count, struct error *err)
{
    char path[STORE_PATH_BYTES];
    AUTO_FREE char(*list)[SHA256_HEX_MAX] = NULL;
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/sha256", root);
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    if (dir == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be read", path);
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (!store_path(root, entry->d_name, path, sizeof path)) {
            continue;
        }
        char(*grown)[SHA256_HEX_MAX] = realloc(list, (count + 1) * sizeof *grown);
        if (grown == NULL) {
            return error_oom(err);
        }
        list = grown;
        memcpy(list[count++], entry->d_name, SHA256_HEX_MAX);
    }
    *ret = TAKE_PTR(list);
    *ret_count = count;
    return 0;
}

int store_read_allowed(const char *const *allowed_roots, size_t allowed_root_count, const char *path, size_t max_bytes,
                       char **ret, size_t *ret_len, struct error *err)
{
    int opened = -1;
    if (open_allowed(allowed_roots, allowed_root_count, path, &opened, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = opened;
    AUTO_FREE char *text = malloc(max_bytes + 2);
    if (text == NULL) {
        return error_oom(err);
    }
    size_t len = 0;
    while (len <= max_bytes) {
        ssize_t n = read(fd, text + len, max_bytes + 1 - len);
        if (n < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "'%.512s' could not be read", path);
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    if (len > max_bytes) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "'%.512s' is larger than %zu bytes", path, max_bytes);
    }
    text[len] = '\0';
    *ret = TAKE_PTR(text);
    *ret_len = len;
    return 0;
}
