/* What a file is: each row of the table by its magic, and where kinds could be taken for each other; root file systems and initrds that lie. */
#include "host/store/file_kind.h"

#include "core/cleanup.h"
#include "host/store/initrd_image.h"
#include "host/store/rootfs_image.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXT_BYTES = 65536, TWO_MIB = 2097152 };

static uint8_t bytes[FILE_KIND_HEAD_BYTES];
static struct error err;

static void setup(void)
{
    memset(bytes, 0, sizeof bytes);
    err = (struct error){.code = ERR_INTERNAL};
}

START_TEST(each_row_is_told_by_its_magic)
{
    const struct file_kind *row = &file_kinds[_i];
    size_t end = row->at + row->magic_len;
    ck_assert_uint_le(end, FILE_KIND_HEAD_BYTES);
    ck_assert(row->magic_len >= 2 && row->magic_len <= FILE_KIND_MAGIC_MAX && row->name[0] != '\0');
    memcpy(bytes + row->at, row->magic, row->magic_len);
    ck_assert_str_eq(file_kind_of(bytes, sizeof bytes)->name, row->name);
    ck_assert_ptr_eq(file_kind_of(bytes, end), file_kind_of(bytes, sizeof bytes));
    ck_assert_str_ne(file_kind_of(bytes, end - 1)->name, row->name);
    bytes[end - 1] ^= 0x55;
    ck_assert_str_ne(file_kind_of(bytes, sizeof bytes)->name, row->name);
}
END_TEST

/* Only what stands in the table twice with the same magic would never be found. */
START_TEST(no_row_hides_another_one)
{
    for (size_t i = 0; i < file_kind_count; i++) {
        for (size_t j = 0; j < i; j++) {
            const struct file_kind *a = &file_kinds[j];
            const struct file_kind *b = &file_kinds[i];
            size_t len = a->magic_len < b->magic_len ? a->magic_len : b->magic_len;
            ck_assert_msg(a->at != b->at || memcmp(a->magic, b->magic, len) != 0, "%s hides %s", a->name, b->name);
        }
    }
}
END_TEST

static void expect(const char *words)
{
    ck_assert_msg(strstr(file_kind_of(bytes, sizeof bytes)->name, words) != NULL, "%s", file_kind_of(bytes, sizeof bytes)->name);
}

START_TEST(what_no_magic_tells)
{
    ck_assert_ptr_nonnull(strstr(file_kind_of(bytes, 0)->name, "empty"));
    expect("nothing but zeroes");
    bytes[510] = 0x55;
    bytes[511] = 0xaa;
    expect("no kind"); /* no entry is in use */
    bytes[446 + 16 + 4] = 0x83;
    expect("MBR");
    bytes[446 + 48] = 0x80;
    expect("MBR");
    bytes[446 + 48] = 0x12;
    expect("no kind");
    memset(bytes, 'a', sizeof bytes);
    expect("a text");
    bytes[70] = 7;
    expect("no kind");
    ck_assert_ptr_nonnull(strstr(file_kind_of("\n", 1)->name, "a text"));
}
END_TEST

static void put(size_t at, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes[at + i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_text(size_t at, const char *text)
{
    for (; *text != '\0'; text++) {
        bytes[at++] = (uint8_t)*text;
    }
}

static void make_ext(uint64_t blocks, unsigned log_size, unsigned incompat)
{
    setup();
    put(1024, 16, 4);
    put(1024 + 0x4, blocks, 4);
    put(1024 + 0x18, log_size, 4);
    put(1080, 0xef53, 2);
    put(1024 + 0x60, incompat, 4);
    put(1024 + 0x150, blocks >> 32, 4);
}

static bool is_rootfs(uint64_t len, const char *type)
{
    err.message[0] = '\0';
    int result = rootfs_image_check(bytes, len, type, &err);
    ck_assert(result == 0 || err.code == ERR_INVALID_MANIFEST);
    return result == 0;
}

static void expect_no_rootfs(uint64_t len, const char *type, const char *words)
{
    ck_assert(!is_rootfs(len, type));
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
}

START_TEST(ext4)
{
    make_ext(64, 0, 0);
    ck_assert(is_rootfs(EXT_BYTES, "ext4"));
    ck_assert(is_rootfs(EXT_BYTES + 1, "ext4")); /* padding */
    expect_no_rootfs(EXT_BYTES - 1, "ext4", "cut off: it has 65536 bytes, and the file 65535");
    expect_no_rootfs(2047, "ext4", "within its superblock");
    expect_no_rootfs(EXT_BYTES, "squashfs", "set rootfs_type to \"ext4\"");
    make_ext(1, 6, 0);
    ck_assert(is_rootfs(EXT_BYTES, "ext4"));
    make_ext(1, 7, 0);
    expect_no_rootfs(EXT_BYTES, "ext4", "damaged");
    make_ext(1, UINT32_MAX, 0);
    expect_no_rootfs(EXT_BYTES, "ext4", "damaged");
    make_ext(0, 0, 0);
    expect_no_rootfs(EXT_BYTES, "ext4", "damaged");
    make_ext(64, 0, 0);
    put(1024, 0, 4);
    expect_no_rootfs(EXT_BYTES, "ext4", "damaged");
    make_ext(64, 0, 8);
    expect_no_rootfs(EXT_BYTES, "ext4", "external journal");
    make_ext(64 + (1ULL << 32), 0, 0); /* the upper half counts with the feature 64bit alone */
    ck_assert(is_rootfs(EXT_BYTES, "ext4"));
    make_ext(64 + (1ULL << 32), 0, 0x80);
    expect_no_rootfs(EXT_BYTES, "ext4", "cut off: it has 4398046576640 bytes");
    make_ext(UINT64_MAX, 6, 0x80);
    expect_no_rootfs(EXT_BYTES, "ext4", "cut off");
}
END_TEST

static void make_squashfs(unsigned block, unsigned major, uint64_t used)
{
    setup();
    put_text(0, "hsqs");
    put(0xc, block, 4);
    put(0x1c, major, 2);
    put(0x28, used, 8);
}

START_TEST(squashfs)
{
    make_squashfs(131072, 4, 5000);
    ck_assert(is_rootfs(5000, "squashfs"));
    ck_assert(is_rootfs(8192, "squashfs"));
    expect_no_rootfs(4999, "squashfs", "cut off: it has 5000 bytes");
    expect_no_rootfs(95, "squashfs", "within its superblock");
    expect_no_rootfs(5000, "ext4", "set rootfs_type to \"squashfs\"");
    put(1080, 0xef53, 2); /* in the midst of it, by chance */
    ck_assert(is_rootfs(5000, "squashfs"));
    make_squashfs(131072, 3, 5000);
    expect_no_rootfs(5000, "squashfs", "version 3");
    static const unsigned blocks[] = {0, 2048, 5000, TWO_MIB, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        make_squashfs(blocks[i], 4, 5000);
        expect_no_rootfs(5000, "squashfs", "damaged");
    }
    make_squashfs(4096, 4, 95);
    expect_no_rootfs(5000, "squashfs", "damaged");
    make_squashfs(4096, 4, UINT64_MAX);
    expect_no_rootfs(5000, "squashfs", "cut off");
}
END_TEST

/* One entry; returns where the next one begins. */
static size_t add_entry(size_t at, const char *name, size_t file_bytes)
{
    char header[160];
    size_t name_bytes = strlen(name) + 1;
    (void)snprintf(header, sizeof header, "070701%08x%08x%08x%08x%08x%08x%08zX%08x%08x%08x%08x%08zx%08x", 1, 0x81a4, 0, 0, 1, 0, file_bytes, 0, 0, 0, 0,
                   name_bytes, 0);
    memcpy(bytes + at, header, 110);
    memcpy(bytes + at + 110, name, name_bytes);
    size_t body = (at + 110 + name_bytes + 3) & ~(size_t)3;
    memset(bytes + body, 'x', file_bytes);
    return (body + file_bytes + 3) & ~(size_t)3;
}

static bool is_initrd(size_t len)
{
    err.message[0] = '\0';
    int result = initrd_image_check(bytes, len, 1 << 20, &err);
    ck_assert(result == 0 || err.code == ERR_INVALID_MANIFEST);
    return result == 0;
}

START_TEST(initrds)
{
    size_t first = add_entry(0, "init", 1001);
    size_t second = add_entry(first, "0123456789", 3); /* a name as long as the trailer's */
    size_t end = add_entry(second, "TRAILER!!!", 0);
    ck_assert(is_initrd(end));
    ck_assert(is_initrd(end - 3)); /* what fills it up */
    ck_assert(is_initrd(4096));
    ck_assert(is_initrd(second)); /* kernels don't miss the trailer */
    ck_assert(is_initrd(first));
    for (size_t len = 6; len < second; len++) {
        bool whole = len == first;
        ck_assert_msg(is_initrd(len) == whole, "%zu: %s", len, err.message);
    }
    put_text(end, "trailing"); /* kernels look for their bootconfig there */
    ck_assert(is_initrd(end + 8));
    put_text(end, "07070");
    ck_assert(is_initrd(end + 5));
    size_t last = add_entry(4096, "TRAILER!!!", 0);
    memset(bytes + end, 0, 8);
    ck_assert(is_initrd(last)); /* two archives, zeroes between them */
    ck_assert(!is_initrd(last - 20));
    bytes[54] = 'g';
    ck_assert(!is_initrd(end));
    bytes[54] = 'f'; /* a file of 4 GiB */
    ck_assert(!is_initrd(end));
    ck_assert_ptr_nonnull(strstr(err.message, "cut off"));
    setup();
    ck_assert(!is_initrd(0));
    ck_assert(!is_initrd(4096));
    (void)add_entry(0, "", 0);
    put_text(94, "00000000"); /* no name */
    ck_assert(!is_initrd(4096));
    put_text(94, "00001001");
    ck_assert(!is_initrd(8192));
    put_text(94, "00001000");
    ck_assert(is_initrd((110 + 4096 + 3) & ~3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file_kind");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_loop_test(tests, each_row_is_told_by_its_magic, 0, (int)file_kind_count);
    tcase_add_test(tests, no_row_hides_another_one);
    tcase_add_test(tests, what_no_magic_tells);
    tcase_add_test(tests, ext4);
    tcase_add_test(tests, squashfs);
    tcase_add_test(tests, initrds);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
