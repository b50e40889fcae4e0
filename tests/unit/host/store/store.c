/* The store of image files: who gets in, under what name, and what every refusal leaves behind (nothing). */
#include "host/store/store.h"

#include "core/cleanup.h"

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <zlib.h>

#define MIB               ((off_t)1024 * 1024)
#define SHA256_OF_HELLO   "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define SHA256_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { PATH_ROOM = 256 };

static char top[64];
static char root[80];    /* of the store */
static char allowed[80]; /* where clients may take files from */
static const char *roots[2];

static char *in(const char *dir, const char *name)
{
    static char paths[256][PATH_ROOM]; /* more than any test uses before it forgets one */
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    (void)snprintf(path, PATH_ROOM, "%s/%s", dir, name);
    return path;
}

static void setup(void)
{
    (void)snprintf(top, sizeof top, "/var/tmp/store-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    (void)snprintf(root, sizeof root, "%s/store", top);
    (void)snprintf(allowed, sizeof allowed, "%s/allowed", top);
    ck_assert_int_eq(mkdir(allowed, 0755), 0);
    roots[0] = "/nonexistent";
    roots[1] = allowed;
    struct error err = {0};
    ck_assert_msg(store_open(root, &err) == 0, "%s", err.message);
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char child[PATH_ROOM * 2];
        (void)snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(child) != 0) {
            remove_tree(child);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    (void)rmdir(path);
}

static void teardown(void)
{
    (void)umount2(root, MNT_DETACH); /* of the test that mounts something there */
    remove_tree(top);
}

static const char *make_file(const char *path, const void *bytes, size_t len)
{
    AUTO_CLOSE int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
    return path;
}

/* In this process, which the daemon does not do. */
static int inspect_here(void *ctx, const struct inspection *what, int from, int to, bool *ret_unpacked, struct error *err)
{
    char byte = 0;
    (void)ctx;
    ck_assert_int_eq(fcntl(from, F_GETFL) & O_ACCMODE, O_RDONLY);
    ck_assert(write(from, &byte, 1) < 0);
    return inspect_file(what, from, to, ret_unpacked, err);
}

static struct store_request request_of(const char *path)
{
    return (struct store_request){.allowed_roots = roots,
                                  .allowed_root_count = ARRAY_LEN(roots),
                                  .path = path,
                                  .expected_bytes = -1,
                                  .max_bytes = (uint64_t)(64 * MIB),
                                  .inspect = inspect_here};
}

static size_t entries(const char *dir)
{
    AUTO_CLOSEDIR DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    size_t count = 0;
    while (readdir(d) != NULL) {
        count++;
    }
    return count - 2;
}

static void expect_entries(size_t wanted)
{
    ck_assert_uint_eq(entries(in(root, "sha256")), wanted);
    ck_assert_uint_eq(entries(in(root, "tmp")), 0);
}

static struct store_result add(const struct store_request *request)
{
    struct store_result result;
    struct error err = {0};
    ck_assert_msg(store_add(root, request, &result, &err) == 0, "%s", err.message);
    return result;
}

static void refuse(const struct store_request *request, enum error_code code)
{
    struct store_result result = {.size_bytes = 4711};
    struct error err = {0};
    size_t before = entries(in(root, "sha256"));
    ck_assert_msg(store_add(root, request, &result, &err) == -1, "%s was let in", request->path);
    ck_assert_msg(err.code == code, "%s: %s", error_code_name(err.code), err.message);
    ck_assert_uint_eq(result.size_bytes, 4711);
    expect_entries(before);
}

static void refuse_path(const char *path, enum error_code code)
{
    struct store_request request = request_of(path);
    refuse(&request, code);
    char *text = NULL;
    size_t len = 0;
    struct error err = {0};
    ck_assert_int_eq(store_read_allowed(roots, ARRAY_LEN(roots), path, 1000, &text, &len, &err), -1);
    ck_assert_msg(err.code == code, "%s: %s", error_code_name(err.code), err.message);
    ck_assert_ptr_null(text);
}

static bool holds(const char *sha256)
{
    char path[PATH_ROOM];
    return store_path(root, sha256, path, sizeof path) && access(path, F_OK) == 0;
}

START_TEST(a_file_is_named_by_its_digest)
{
    struct store_request request = request_of(make_file(in(allowed, "hello"), "hello", 5));
    _Atomic uint64_t progress = 0;
    request.expected_sha256 = SHA256_OF_HELLO;
    request.expected_bytes = 5;
    request.progress = &progress;
    struct store_result result = add(&request);
    ck_assert_str_eq(result.sha256, SHA256_OF_HELLO);
    ck_assert_str_eq(result.source_sha256, SHA256_OF_HELLO);
    ck_assert_uint_eq(result.size_bytes, 5);
    ck_assert_uint_eq(progress, 5);
    ck_assert(holds(SHA256_OF_HELLO));
    expect_entries(1);
    char path[PATH_ROOM];
    ck_assert(store_path(root, SHA256_OF_HELLO, path, sizeof path));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0444);
    ck_assert_int_eq(st.st_size, 5);
    ino_t first = st.st_ino;
    (void)add(&request); /* once more: the file that VMs may hold stays */
    expect_entries(1);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_ino, first);

    request = request_of(make_file(in(allowed, "empty"), "", 0));
    ck_assert_str_eq(add(&request).sha256, SHA256_OF_NOTHING);
    expect_entries(2);
}
END_TEST

START_TEST(what_is_not_as_promised_is_refused)
{
    struct store_request request = request_of(make_file(in(allowed, "hello"), "hello", 5));
    request.expected_sha256 = SHA256_OF_NOTHING;
    refuse(&request, ERR_DIGEST_MISMATCH);
    request.expected_sha256 = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";
    refuse(&request, ERR_INVALID_MANIFEST);
    request.expected_sha256 = "";
    refuse(&request, ERR_INVALID_MANIFEST);
    request.expected_sha256 = NULL;
    request.expected_bytes = 6;
    refuse(&request, ERR_INVALID_MANIFEST);
    request.expected_bytes = 0;
    refuse(&request, ERR_INVALID_MANIFEST);
    request.expected_bytes = 5;
    request.max_bytes = 4;
    refuse(&request, ERR_PAYLOAD_TOO_LARGE);
    request.max_bytes = 5;
    (void)add(&request);
}
END_TEST

START_TEST(paths_outside_the_roots_are_refused)
{
    (void)make_file(in(allowed, "hello"), "hello", 5);
    (void)make_file(in(top, "secret"), "secret", 6);
    (void)make_file(in(top, "allowed-not"), "secret", 6);
    ck_assert_int_eq(mkdir(in(allowed, "sub"), 0755), 0);
    refuse_path(in(top, "secret"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(top, "allowed-not"), ERR_PATH_NOT_ALLOWED); /* only begins like a root */
    refuse_path("/etc/passwd", ERR_PATH_NOT_ALLOWED);
    refuse_path("/nonexistent/file", ERR_PATH_NOT_ALLOWED); /* nothing tells what is there outside */
    refuse_path("hello", ERR_PATH_NOT_ALLOWED);
    refuse_path("", ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "../secret"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "sub/../hello"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "sub/.."), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "none"), ERR_INVALID_MANIFEST);
    refuse_path(in(allowed, "hello/x"), ERR_INVALID_MANIFEST);
    struct store_request request = request_of(in(allowed, "hello"));
    request.allowed_root_count = 0;
    refuse(&request, ERR_PATH_NOT_ALLOWED);
}
END_TEST

START_TEST(links_lead_nowhere_else)
{
    (void)make_file(in(allowed, "hello"), "hello", 5);
    (void)make_file(in(top, "secret"), "secret", 6);
    ck_assert_int_eq(symlink(in(top, "secret"), in(allowed, "absolute")), 0);
    ck_assert_int_eq(symlink("../secret", in(allowed, "relative")), 0);
    ck_assert_int_eq(symlink("..", in(allowed, "up")), 0);
    ck_assert_int_eq(symlink("loop", in(allowed, "loop")), 0);
    ck_assert_int_eq(symlink("/proc/self/root/etc/passwd", in(allowed, "magic")), 0);
    ck_assert_int_eq(symlink("/proc/self/fd/0", in(allowed, "descriptor")), 0);
    refuse_path(in(allowed, "absolute"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "relative"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "up/secret"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "loop"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "magic"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "descriptor"), ERR_PATH_NOT_ALLOWED);

    ck_assert_int_eq(symlink("hello", in(allowed, "inside")), 0); /* within the root a link is fine */
    struct store_request request = request_of(in(allowed, "inside"));
    (void)add(&request);
    ck_assert_int_eq(symlink(allowed, in(top, "link-to-root")), 0); /* and so is a root that is one */
    const char *const linked[] = {in(top, "link-to-root")};
    request = request_of(in(top, "link-to-root/hello"));
    request.allowed_roots = linked;
    request.allowed_root_count = 1;
    (void)add(&request);
    const char *const slashed[] = {in(allowed, "//")};
    request = request_of(in(allowed, "hello"));
    request.allowed_roots = slashed;
    request.allowed_root_count = 1;
    (void)add(&request);
    const char *const everything[] = {"/"};
    request.allowed_roots = everything;
    (void)add(&request);
    const char *const no_dir[] = {in(allowed, "hello"), "relative"};
    request.allowed_roots = no_dir;
    request.allowed_root_count = 2;
    refuse(&request, ERR_PATH_NOT_ALLOWED);
}
END_TEST

START_TEST(only_regular_files_and_nobody_waits)
{
    ck_assert_int_eq(mkfifo(in(allowed, "fifo"), 0644), 0);
    ck_assert_int_eq(mkdir(in(allowed, "dir"), 0755), 0);
    ck_assert_int_eq(symlink("/dev/zero", in(allowed, "device")), 0);
    refuse_path(in(allowed, "fifo"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "dir"), ERR_PATH_NOT_ALLOWED);
    refuse_path(in(allowed, "device"), ERR_PATH_NOT_ALLOWED);
    const char *const dev[] = {"/dev"};
    struct store_request request = request_of("/dev/zero");
    request.allowed_roots = dev;
    request.allowed_root_count = 1;
    refuse(&request, ERR_PATH_NOT_ALLOWED);
}
END_TEST

static atomic_bool swapping;

/* Somebody who lets a name point inside and outside by turns. Returns NULL when all went well. */
static void *swap_names(void *arg)
{
    char name[PATH_ROOM];
    char next[PATH_ROOM];
    char secret[PATH_ROOM];
    (void)snprintf(name, sizeof name, "%s/name", allowed);
    (void)snprintf(next, sizeof next, "%s/next", allowed);
    (void)snprintf(secret, sizeof secret, "%s/secret", top);
    for (unsigned i = 0; atomic_load(&swapping); i++) {
        if (symlink(i % 2 == 0 ? secret : "hello", next) != 0 || rename(next, name) != 0) {
            return arg;
        }
    }
    return NULL;
}

START_TEST(a_race_gains_nothing)
{
    (void)make_file(in(allowed, "hello"), "hello", 5);
    (void)make_file(in(allowed, "name"), "hello", 5);
    (void)make_file(in(top, "secret"), "secret", 6);
    pthread_t thread;
    atomic_store(&swapping, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, swap_names, top), 0);
    char path[PATH_ROOM];
    (void)snprintf(path, sizeof path, "%s/name", allowed);
    int in_count = 0;
    int out_count = 0;
    for (int i = 0; i < 100000 && (i < 3000 || in_count == 0 || out_count == 0); i++) {
        char *text = NULL;
        size_t len = 0;
        struct error err = {0};
        if (store_read_allowed(roots, ARRAY_LEN(roots), path, 100, &text, &len, &err) == 0) {
            ck_assert_str_eq(text, "hello");
            in_count++;
        } else {
            ck_assert_msg(err.code == ERR_PATH_NOT_ALLOWED, "%s", err.message);
            out_count++;
        }
        free(text);
    }
    atomic_store(&swapping, false);
    void *problem = NULL;
    ck_assert_int_eq(pthread_join(thread, &problem), 0);
    ck_assert_ptr_null(problem);
    ck_assert(in_count > 0 && out_count > 0);
}
END_TEST

START_TEST(reading_can_be_cancelled)
{
    struct store_request request = request_of(make_file(in(allowed, "hello"), "hello", 5));
    atomic_bool cancel = true;
    request.cancel = &cancel;
    refuse(&request, ERR_CONFLICT);
    atomic_store(&cancel, false);
    (void)add(&request);
}
END_TEST

/* 9 MiB: zeros that are written, data at an odd place, a hole at the end. */
static const char *make_sparse_file(void)
{
    static char bytes[50000];
    const char *path = make_file(in(allowed, "sparse"), "", 0);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (off_t at = 0; at < 2 * MIB; at += (off_t)sizeof bytes) {
        ck_assert_int_eq(pwrite(fd, bytes, sizeof bytes, at), (ssize_t)sizeof bytes);
    }
    memset(bytes, 'd', sizeof bytes);
    ck_assert_int_eq(pwrite(fd, bytes, sizeof bytes, 3 * MIB + 1234), (ssize_t)sizeof bytes);
    ck_assert_int_eq(ftruncate(fd, 9 * MIB + 17), 0);
    return path;
}

START_TEST(zeros_become_holes_and_bytes_stay)
{
    struct store_request request = request_of(make_sparse_file());
    struct store_result result = add(&request);
    ck_assert_int_eq((off_t)result.size_bytes, 9 * MIB + 17);
    char path[PATH_ROOM];
    ck_assert(store_path(root, result.sha256, path, sizeof path));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_size, 9 * MIB + 17);
    ck_assert_int_le(st.st_blocks, 300); /* 150 kB */
    const char *const stored_roots[] = {root};
    request = request_of(path); /* what is stored has the digest that it is named by */
    request.allowed_roots = stored_roots;
    request.allowed_root_count = 1;
    request.expected_sha256 = result.sha256;
    (void)add(&request);
    expect_entries(1);
}
END_TEST

enum { ELF_BYTES = 100000, BOOT_BYTES = 1024 };

static void make_elf(uint8_t *bytes)
{
    Elf64_Ehdr header = {
        .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_entry = 0x1000000, .e_phoff = sizeof header, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1};
    Elf64_Phdr segment = {.p_type = PT_LOAD, .p_filesz = ELF_BYTES, .p_memsz = ELF_BYTES, .p_paddr = 0x1000000};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    memset(bytes, 'k', ELF_BYTES);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, &segment, sizeof segment);
}

/* A bzImage with a gzip payload behind one setup sector. */
static size_t make_vmlinuz(uint8_t *bytes, size_t size, const uint8_t *content)
{
    memset(bytes, 0, BOOT_BYTES);
    bytes[0x1f1] = 1;
    static const uint8_t magic_and_version[] = {'H', 'd', 'r', 'S', 0x0f, 0x02};
    memcpy(bytes + 0x202, magic_and_version, sizeof magic_and_version);
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (z_const Bytef *)(uintptr_t)content;
    stream.avail_in = ELF_BYTES;
    stream.next_out = bytes + BOOT_BYTES;
    stream.avail_out = (uInt)(size - BOOT_BYTES);
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    uint32_t len = (uint32_t)stream.total_out;
    (void)deflateEnd(&stream);
    memcpy(bytes + 0x24c, &len, sizeof len); /* the machine is as little-endian as the header */
    return BOOT_BYTES + len;
}

START_TEST(packed_kernels_are_stored_unpacked)
{
    static uint8_t elf[ELF_BYTES];
    static uint8_t packed[ELF_BYTES];
    make_elf(elf);
    size_t len = make_vmlinuz(packed, sizeof packed, elf);
    struct store_request request = request_of(make_file(in(allowed, "vmlinux"), elf, sizeof elf));
    request.use = STORE_KERNEL;
    struct store_result plain = add(&request);
    ck_assert_str_eq(plain.sha256, plain.source_sha256);

    request.path = make_file(in(allowed, "vmlinuz"), packed, len);
    request.expected_bytes = (int64_t)len;
    struct store_result unpacked = add(&request);
    ck_assert_str_eq(unpacked.sha256, plain.sha256);
    ck_assert_str_ne(unpacked.source_sha256, plain.sha256);
    ck_assert_uint_eq(unpacked.size_bytes, ELF_BYTES);
    expect_entries(1);
    request.expected_sha256 = unpacked.sha256; /* it is the given file that is checked */
    refuse(&request, ERR_DIGEST_MISMATCH);
    request.expected_sha256 = unpacked.source_sha256;
    (void)add(&request);
    request.use = STORE_ANYTHING; /* as it is */
    (void)add(&request);
    expect_entries(2);
}
END_TEST

START_TEST(what_is_no_kernel_is_refused_as_one)
{
    static uint8_t elf[ELF_BYTES];
    static uint8_t packed[ELF_BYTES];
    make_elf(elf);
    size_t len = make_vmlinuz(packed, sizeof packed, elf);
    struct store_request request = request_of(make_file(in(allowed, "text"), "hello", 5));
    request.use = STORE_KERNEL;
    refuse(&request, ERR_INVALID_MANIFEST);
    request.path = make_file(in(allowed, "empty"), "", 0);
    refuse(&request, ERR_INVALID_MANIFEST);
    request.path = make_file(in(allowed, "short"), packed, len - 1);
    refuse(&request, ERR_INVALID_MANIFEST);
    request.path = make_file(in(allowed, "vmlinuz"), packed, len);
    request.max_bytes = ELF_BYTES - 1; /* a small file that unpacks into a large one */
    refuse(&request, ERR_PAYLOAD_TOO_LARGE);
    elf[0] = 0;
    len = make_vmlinuz(packed, sizeof packed, elf);
    request.path = make_file(in(allowed, "vmlinuz"), packed, len);
    request.max_bytes = ELF_BYTES;
    refuse(&request, ERR_INVALID_MANIFEST); /* well packed, but no ELF */
}
END_TEST

START_TEST(what_is_no_such_file_is_refused)
{
    struct store_request request = request_of(make_file(in(allowed, "text"), "hello", 5));
    request.use = STORE_ROOTFS;
    request.rootfs_type = "ext4";
    refuse(&request, ERR_INVALID_MANIFEST);
    request.use = STORE_INITRD;
    refuse(&request, ERR_INVALID_MANIFEST);
    request.path = make_file(in(allowed, "empty"), "", 0);
    refuse(&request, ERR_INVALID_MANIFEST);
    request.use = STORE_ROOTFS;
    refuse(&request, ERR_INVALID_MANIFEST);
    request.expected_sha256 = SHA256_OF_HELLO; /* of two faults that which tells more */
    refuse(&request, ERR_DIGEST_MISMATCH);
}
END_TEST

START_TEST(names_that_are_no_digests_lead_nowhere)
{
    static const char *const names[] = {"",
                                        "..",
                                        "../secret",
                                        "abc",
                                        "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824",
                                        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98240"};
    char path[PATH_ROOM];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ck_assert(!store_path(root, names[i], path, sizeof path));
        ck_assert_int_eq(store_remove(root, names[i], NULL), -1);
    }
    size_t needed = strlen(root) + strlen("/sha256/") + 64 + 1;
    ck_assert(store_path(root, SHA256_OF_HELLO, path, needed));
    ck_assert(!store_path(root, SHA256_OF_HELLO, path, needed - 1));
}
END_TEST

START_TEST(files_are_listed_and_removed)
{
    struct store_request request = request_of(make_file(in(allowed, "hello"), "hello", 5));
    (void)make_file(in(root, "sha256/README"), "x", 1); /* not ours: neither listed nor touched */
    char(*list)[SHA256_HEX_MAX] = NULL;
    size_t count = 9;
    ck_assert_int_eq(store_list(root, &list, &count, NULL), 0);
    ck_assert(count == 0 && list == NULL);
    (void)add(&request);
    for (int i = 0; i < 100; i++) {
        request.path = make_file(in(allowed, "n"), &i, sizeof i);
        (void)add(&request);
    }
    ck_assert_int_eq(store_list(root, &list, &count, NULL), 0);
    ck_assert_uint_eq(count, 101);
    size_t hellos = 0;
    for (size_t i = 0; i < count; i++) {
        ck_assert(holds(list[i]));
        hellos += strcmp(list[i], SHA256_OF_HELLO) == 0;
    }
    ck_assert_uint_eq(hellos, 1);
    free(list);
    ck_assert_int_eq(store_remove(root, SHA256_OF_HELLO, NULL), 0);
    ck_assert(!holds(SHA256_OF_HELLO));
    ck_assert_int_eq(store_remove(root, SHA256_OF_HELLO, NULL), 0); /* none is no failure */
    list = NULL;
    ck_assert_int_eq(store_list("/nonexistent", &list, &count, NULL), -1);
    ck_assert_ptr_null(list);
}
END_TEST

START_TEST(opening_cleans_up_after_a_crash)
{
    struct store_request request = request_of(make_file(in(allowed, "hello"), "hello", 5));
    (void)add(&request);
    (void)make_file(in(root, "tmp/add-abcdef"), "half", 4);
    ck_assert_int_eq(chmod(in(root, "tmp"), 0777), 0);
    ck_assert_int_eq(store_open(root, NULL), 0);
    expect_entries(1);
    static const char *const dirs[] = {".", "sha256", "tmp"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct stat st;
        ck_assert_int_eq(stat(in(root, dirs[i]), &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0700);
    }
    struct error err = {0};
    ck_assert_int_eq(store_open("/nonexistent/store", &err), -1);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_int_eq(symlink("/tmp", in(top, "tmp")), 0);
    ck_assert_int_eq(mkdir(in(top, "other"), 0700), 0);
    ck_assert_int_eq(symlink("/tmp", in(top, "other/tmp")), 0);
    ck_assert_int_eq(store_open(in(top, "other"), &err), -1); /* nothing is removed elsewhere */
}
END_TEST

START_TEST(manifests_are_read_whole_or_not_at_all)
{
    char *text = NULL;
    size_t len = 0;
    struct error err = {0};
    const char *path = make_file(in(allowed, "manifest"), "a\0b", 3);
    ck_assert_int_eq(store_read_allowed(roots, ARRAY_LEN(roots), path, 3, &text, &len, NULL), 0);
    ck_assert_uint_eq(len, 3);
    ck_assert_int_eq(memcmp(text, "a\0b", 4), 0);
    free(text);
    text = NULL;
    ck_assert_int_eq(store_read_allowed(roots, ARRAY_LEN(roots), path, 2, &text, &len, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
    ck_assert_ptr_null(text);
    const char *const proc[] = {"/proc"}; /* files whose size says 0 and that have bytes all the same */
    ck_assert_int_eq(store_read_allowed(proc, 1, "/proc/meminfo", 10, &text, &len, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
}
END_TEST

/* Puts the store on a tmpfs of 1 MiB that only this process sees; false without root. */
static bool enter_small_tmpfs(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", root, "tmpfs", 0, "size=1m") != 0) {
        (void)printf("skipped: only root can mount a small file system\n");
        return false;
    }
    ck_assert_int_eq(store_open(root, NULL), 0);
    return true;
}

START_TEST(a_full_disk_leaves_nothing)
{
    if (!enter_small_tmpfs()) {
        return;
    }
    static uint8_t bytes[2 << 20];
    memset(bytes, 'x', sizeof bytes);
    struct store_request request = request_of(make_file(in(allowed, "large"), bytes, sizeof bytes));
    AUTO_CLOSE int fd = open(request.path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(fsync(fd), 0); /* so that the file system knows how much it takes */
    refuse(&request, ERR_INSUFFICIENT_STORAGE);

    static uint8_t elf[ELF_BYTES];
    static uint8_t packed[ELF_BYTES];
    make_elf(elf);
    size_t len = make_vmlinuz(packed, sizeof packed, elf);
    request.path = make_file(in(allowed, "vmlinuz"), packed, len);
    request.use = STORE_KERNEL;
    (void)make_file(in(root, "filler"), bytes, 1 << 19); /* what is packed still fits, what is unpacked does not */
    (void)make_file(in(root, "filler2"), bytes, (1 << 19) - 65536);
    refuse(&request, ERR_INSUFFICIENT_STORAGE);
    ck_assert_int_eq(unlink(in(root, "filler")), 0);
    (void)add(&request);
    expect_entries(1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("store");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_file_is_named_by_its_digest);
    tcase_add_test(tc, what_is_not_as_promised_is_refused);
    tcase_add_test(tc, paths_outside_the_roots_are_refused);
    tcase_add_test(tc, links_lead_nowhere_else);
    tcase_add_test(tc, only_regular_files_and_nobody_waits);
    tcase_add_test(tc, a_race_gains_nothing);
    tcase_add_test(tc, reading_can_be_cancelled);
    tcase_add_test(tc, zeros_become_holes_and_bytes_stay);
    tcase_add_test(tc, packed_kernels_are_stored_unpacked);
    tcase_add_test(tc, what_is_no_kernel_is_refused_as_one);
    tcase_add_test(tc, what_is_no_such_file_is_refused);
    tcase_add_test(tc, names_that_are_no_digests_lead_nowhere);
    tcase_add_test(tc, files_are_listed_and_removed);
    tcase_add_test(tc, opening_cleans_up_after_a_crash);
    tcase_add_test(tc, manifests_are_read_whole_or_not_at_all);
    tcase_add_test(tc, a_full_disk_leaves_nothing);
    Suite *suite = suite_create("store");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
