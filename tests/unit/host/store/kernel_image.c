/* Kernels as distributions pack them: what is unpacked, and what damaged or hostile files get. */
#include "host/store/kernel_image.h"

#include "core/cleanup.h"

#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <lz4.h>
#include <lzma.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

enum {
    ELF_BYTES = 9 * 1024 * 1024, /* more than one block of LZ4 */
    ROOM = 16 * 1024 * 1024,
    SETUP_SECTORS = 7,
    PAYLOAD_OFFSET = 300,
    PAYLOAD_AT = (SETUP_SECTORS + 1) * 512 + PAYLOAD_OFFSET,
    LZ4_BLOCK = 8 * 1024 * 1024,
};

static uint8_t elf[ELF_BYTES];
static uint8_t image[ROOM];
static size_t image_len;

static Elf64_Ehdr good_header(void)
{
    Elf64_Ehdr header = {.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phoff = sizeof header, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    return header;
}

static void setup(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof elf; i++) { /* neither random nor constant */
        state = state * 1664525U + 1013904223U;
        elf[i] = (uint8_t)(i % 65536 < 60000 ? i / 65536 : state >> 24);
    }
    Elf64_Ehdr header = good_header();
    memcpy(elf, &header, sizeof header);
}

static void put_le(size_t at, uint32_t value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        image[at + i] = (uint8_t)(value >> (8 * i));
    }
}

/* Puts the boot header around a payload that is already in place. */
static void make_bzimage(size_t payload_len)
{
    memset(image, 0xcc, PAYLOAD_AT);
    image[0x1f1] = SETUP_SECTORS;
    put_le(0x202, 0x53726448, 4); /* "HdrS" */
    put_le(0x206, 0x020f, 2);
    put_le(0x248, PAYLOAD_OFFSET, 4);
    put_le(0x24c, (uint32_t)payload_len, 4);
    image_len = PAYLOAD_AT + payload_len;
    memset(image + image_len, 0xdd, 1000); /* the rest of the protected-mode kernel */
    image_len += 1000;
}

static uint8_t *payload(void)
{
    return image + PAYLOAD_AT;
}

static size_t append_size(size_t len)
{
    put_le(PAYLOAD_AT + len, ELF_BYTES, 4);
    return len + 4;
}

static size_t pack_gzip(void)
{
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = elf;
    stream.avail_in = ELF_BYTES;
    stream.next_out = payload();
    stream.avail_out = ROOM - PAYLOAD_AT - 2000;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t len = stream.total_out;
    (void)deflateEnd(&stream);
    return len;
}

static size_t pack_lzma_stream(lzma_stream *stream)
{
    stream->next_in = elf;
    stream->avail_in = ELF_BYTES;
    stream->next_out = payload();
    stream->avail_out = ROOM - PAYLOAD_AT - 2000;
    lzma_ret status;
    do {
        status = lzma_code(stream, LZMA_FINISH);
    } while (status == LZMA_OK);
    ck_assert_int_eq(status, LZMA_STREAM_END);
    size_t len = stream->total_out;
    lzma_end(stream);
    return append_size(len);
}

static size_t pack_xz(void)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    ck_assert(!lzma_lzma_preset(&options, 1));
    options.dict_size = 32 << 20; /* as the kernel's build asks for */
    const lzma_filter filters[] = {{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    ck_assert_int_eq(lzma_stream_encoder(&stream, filters, LZMA_CHECK_CRC32), LZMA_OK);
    return pack_lzma_stream(&stream);
}

static size_t pack_lzma(void)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    ck_assert(!lzma_lzma_preset(&options, 1));
    ck_assert_int_eq(lzma_alone_encoder(&stream, &options), LZMA_OK);
    return pack_lzma_stream(&stream);
}

static size_t pack_zstd(void)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27); /* as zstd --ultra -22 has it */
    size_t len = ZSTD_compress2(context, payload(), ROOM - PAYLOAD_AT - 2000, elf, ELF_BYTES);
    (void)ZSTD_freeCCtx(context);
    ck_assert(!ZSTD_isError(len));
    return append_size(len);
}

static size_t pack_lz4(void)
{
    size_t len = 4;
    put_le(PAYLOAD_AT, 0x184c2102, 4);
    for (size_t at = 0; at < ELF_BYTES; at += LZ4_BLOCK) {
        size_t part = ELF_BYTES - at < LZ4_BLOCK ? ELF_BYTES - at : LZ4_BLOCK;
        int n = LZ4_compress_default((const char *)elf + at, (char *)payload() + len + 4, (int)part, (int)(ROOM - PAYLOAD_AT - 3000 - len));
        ck_assert_int_gt(n, 0);
        put_le(PAYLOAD_AT + len, (uint32_t)n, 4);
        len += 4 + (size_t)n;
    }
    return append_size(len);
}

static size_t pack_nothing(void)
{
    memcpy(payload(), elf, ELF_BYTES);
    return ELF_BYTES;
}

static const struct {
    const char *name;
    size_t (*pack)(void);
    size_t trailer; /* bytes at the end that may be missing */
} packers[] = {{"gzip", pack_gzip, 0}, {"XZ", pack_xz, 4},   {"LZMA", pack_lzma, 4},
               {"zstd", pack_zstd, 4}, {"LZ4", pack_lz4, 4}, {"none", pack_nothing, ELF_BYTES}};

static int unpack(uint64_t max_bytes, int *ret_fd, struct error *err)
{
    *ret_fd = memfd_create("kernel", MFD_CLOEXEC);
    ck_assert_int_ge(*ret_fd, 0);
    return kernel_image_unpack(image, image_len, *ret_fd, max_bytes, err);
}

static void expect_elf(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, ELF_BYTES);
    void *bytes = mmap(NULL, ELF_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert(bytes != MAP_FAILED);
    ck_assert_int_eq(memcmp(bytes, elf, ELF_BYTES), 0);
    ck_assert(kernel_image_is_elf(bytes, ELF_BYTES));
    (void)munmap(bytes, ELF_BYTES);
}

static void refuse(enum error_code code)
{
    struct error err = {0};
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(unpack(ELF_BYTES, &fd, &err), -1);
    ck_assert_msg(err.code == code, "%s: %s", error_code_name(err.code), err.message);
}

START_TEST(every_compression_gives_the_same_elf)
{
    make_bzimage(packers[_i].pack());
    struct error err = {0};
    AUTO_CLOSE int fd = -1;
    ck_assert_msg(unpack(ELF_BYTES, &fd, &err) == 0, "%s: %s", packers[_i].name, err.message);
    expect_elf(fd);
}
END_TEST

START_TEST(one_byte_over_the_bound_is_too_much)
{
    make_bzimage(packers[_i].pack());
    struct error err = {0};
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(unpack(ELF_BYTES - 1, &fd, &err), -1);
    ck_assert_int_eq(err.code, ERR_PAYLOAD_TOO_LARGE);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_lt(st.st_size, ELF_BYTES);
}
END_TEST

START_TEST(a_payload_that_is_cut_off_is_noticed)
{
    size_t len = packers[_i].pack();
    if (packers[_i].trailer >= len) {
        return; /* not compressed: nothing tells */
    }
    static const size_t missing[] = {1, 5, 100, 5000, 20000};
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        make_bzimage(len - packers[_i].trailer - missing[i]);
        refuse(ERR_INVALID_MANIFEST);
    }
    make_bzimage(8);
    refuse(ERR_INVALID_MANIFEST);
}
END_TEST

/* Whatever the bytes are, there is an answer; the sanitizers watch. */
START_TEST(damage_never_leads_astray)
{
    size_t len = packers[_i].pack();
    make_bzimage(len);
    uint32_t state = 7;
    for (int round = 0; round < 16; round++) {
        state = state * 1664525U + 1013904223U;
        size_t at = PAYLOAD_AT + (round % 2 == 0 ? state % 64 : state % len);
        uint8_t old = image[at];
        image[at] ^= (uint8_t)(1U << (state >> 29));
        AUTO_CLOSE int fd = -1;
        (void)unpack(ELF_BYTES, &fd, NULL);
        image[at] = old;
    }
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(unpack(ELF_BYTES, &fd, NULL), 0); /* and nothing was spoilt */
}
END_TEST

START_TEST(headers_that_lie_are_refused)
{
    size_t len = pack_gzip();
    make_bzimage(len);
    put_le(0x248, UINT32_MAX, 4);
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    put_le(0x24c, UINT32_MAX, 4);
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    put_le(0x24c, 0, 4);
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    put_le(0x24c, (uint32_t)len + 1001, 4); /* one byte behind the end */
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    put_le(0x206, 0x0207, 2);
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    image[0x202] = 'h';
    refuse(ERR_INVALID_MANIFEST);
    make_bzimage(len);
    for (image_len = 0; image_len < PAYLOAD_AT + 100; image_len += 37) {
        refuse(ERR_INVALID_MANIFEST);
    }
}
END_TEST

START_TEST(no_setup_sectors_mean_four)
{
    size_t len = pack_gzip();
    make_bzimage(len);
    image[0x1f1] = 0;
    put_le(0x248, PAYLOAD_AT - 5 * 512, 4);
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(unpack(ELF_BYTES, &fd, NULL), 0);
    expect_elf(fd);
}
END_TEST

START_TEST(unknown_compressions_are_named)
{
    memcpy(payload(), "BZh91AY&SY", 10);
    make_bzimage(1000);
    struct error err = {0};
    AUTO_CLOSE int fd = -1;
    ck_assert_int_eq(unpack(ELF_BYTES, &fd, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_MANIFEST);
    ck_assert_ptr_nonnull(strstr(err.message, "bzip2"));
    memcpy(payload(), "whatever??", 10);
    refuse(ERR_INVALID_MANIFEST);
}
END_TEST

START_TEST(a_full_disk_is_no_fault_of_the_kernel)
{
    make_bzimage(pack_gzip());
    AUTO_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct error err = {0};
    ck_assert_int_eq(kernel_image_unpack(image, image_len, full, ELF_BYTES, &err), -1);
    ck_assert_int_eq(err.code, ERR_INSUFFICIENT_STORAGE);
}
END_TEST

/* An ELF of two segments: one to load, one of notes. */
static struct small_elf {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    struct {
        Elf64_Nhdr head;
        char name[4];
        uint64_t entry;
    } note;
} small;

static void make_small(void)
{
    small = (struct small_elf){.header = good_header(),
                               .segments = {{.p_type = PT_LOAD, .p_filesz = sizeof small, .p_memsz = 0x10000, .p_paddr = 0x1000000, .p_vaddr = 0x7f000000},
                                            {.p_type = PT_NOTE, .p_offset = offsetof(struct small_elf, note), .p_filesz = sizeof small.note}},
                               .note = {.head = {4, 8, 18}, .name = "Xen", .entry = 0x1000000}};
    small.header.e_phnum = 2;
    small.header.e_entry = 0x1000100;
}

static bool is_kernel(size_t len)
{
    struct error err = {0};
    int result = kernel_image_check_elf(&small, len, &err);
    ck_assert(result == 0 || err.code == ERR_INVALID_MANIFEST);
    return result == 0;
}

static void expect_no_kernel(const char *words)
{
    struct error err = {0};
    ck_assert_int_eq(kernel_image_check_elf(&small, sizeof small, &err), -1);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    make_small();
}

START_TEST(only_an_elf_for_this_machine_is_one)
{
    make_small();
    ck_assert(is_kernel(sizeof small));
    for (size_t len = 0; len < sizeof small; len++) {
        ck_assert(!is_kernel(len));
    }
    small.header.e_type = ET_DYN;
    ck_assert(is_kernel(sizeof small));
    small.header.e_type = ET_REL;
    expect_no_kernel("object file");
    small.header.e_type = ET_CORE;
    expect_no_kernel("can't be started");
    small.header.e_machine = EM_AARCH64;
    expect_no_kernel("AArch64");
    small.header.e_machine = 4711;
    expect_no_kernel("4711");
    small.header.e_ident[EI_CLASS] = ELFCLASS32;
    expect_no_kernel("32-bit");
    small.header.e_ident[EI_CLASS] = ELFCLASS32;
    small.header.e_machine = EM_386;
    expect_no_kernel("32-bit");
    small.header.e_ident[EI_DATA] = ELFDATA2MSB;
    expect_no_kernel("x86-64");
    small.header.e_ident[0] = 0;
    expect_no_kernel("not an ELF");
    small.header.e_phnum = 0;
    expect_no_kernel("can't be started");
    small.header.e_phnum = 200;
    expect_no_kernel("cut off");
    small.header.e_phoff = UINT64_MAX;
    expect_no_kernel("cut off");
    small.segments[0].p_offset = 1;
    expect_no_kernel("cut off");
    small.segments[1].p_filesz = UINT64_MAX;
    expect_no_kernel("cut off");
    small.segments[1].p_type = PT_INTERP;
    expect_no_kernel("a program for Linux");
    small.segments[1].p_type = PT_TLS;
    expect_no_kernel("a program for Linux");
    small.segments[0].p_type = PT_NULL;
    expect_no_kernel("nothing to load");
}
END_TEST

/* The 64-bit entry lies in a segment, by either of its addresses; or there is a note for PVH. */
START_TEST(a_kernel_has_an_entry)
{
    static const uint64_t inside[] = {0x1000000, 0x100ffff, 0x7f000000, 0x7f00ffff};
    static const uint64_t outside[] = {0, 0xffffff, 0x1010000, 0x7effffff, 0x7f010000, UINT64_MAX};
    make_small();
    small.segments[1].p_type = PT_NULL;
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        small.header.e_entry = inside[i];
        ck_assert(is_kernel(sizeof small));
    }
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        small.segments[1].p_type = PT_NULL;
        small.header.e_entry = outside[i];
        ck_assert(!is_kernel(sizeof small));
        small.segments[1].p_type = PT_NOTE;
        ck_assert(is_kernel(sizeof small));
    }
    small.note.head.n_type = 17;
    ck_assert(!is_kernel(sizeof small));
    small.note.head.n_type = 18;
    small.note.name[0] = 'x';
    ck_assert(!is_kernel(sizeof small));
    small.note.name[0] = 'X';
    small.note.head.n_descsz = UINT32_MAX;
    ck_assert(!is_kernel(sizeof small));
    small.header.e_entry = 0;
    expect_no_kernel("without an entry");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("kernel_image");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, every_compression_gives_the_same_elf, 0, (int)ARRAY_LEN(packers));
    tcase_add_loop_test(tc, one_byte_over_the_bound_is_too_much, 0, (int)ARRAY_LEN(packers));
    tcase_add_loop_test(tc, a_payload_that_is_cut_off_is_noticed, 0, (int)ARRAY_LEN(packers));
    tcase_add_loop_test(tc, damage_never_leads_astray, 0, (int)ARRAY_LEN(packers));
    tcase_add_test(tc, headers_that_lie_are_refused);
    tcase_add_test(tc, no_setup_sectors_mean_four);
    tcase_add_test(tc, unknown_compressions_are_named);
    tcase_add_test(tc, a_full_disk_is_no_fault_of_the_kernel);
    tcase_add_test(tc, only_an_elf_for_this_machine_is_one);
    tcase_add_test(tc, a_kernel_has_an_entry);
    Suite *suite = suite_create("kernel_image");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
