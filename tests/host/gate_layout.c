/* Where the kernel says that packets have their checksum: of this kernel, and of broken descriptions. Needs no root. */
#include "core/cleanup.h"
#include "host/gate/parts.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <string.h>

enum { SMALL_MAX = 512 };

static char path[64];

static void make_file(const void *bytes, size_t len)
{
    (void)strcpy(path, "/tmp/gate_layout.XXXXXX"); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
    AUTO_CLOSE int fd = mkstemp(path);
    ck_assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
}

static int result_of(const void *bytes, size_t len, struct gate_layout *ret)
{
    make_file(bytes, len);
    int result = gate_layout_read(path, ret);
    (void)unlink(path);
    return result;
}

START_TEST(of_this_kernel)
{
    struct gate_layout layout = {.summed = -1};
    ck_assert_int_eq(gate_layout_read(GATE_LAYOUT_PATH, &layout), 0);
    ck_assert_int_gt(layout.summed, 0);
    ck_assert_int_le(layout.summed_shift, 6);
    ck_assert_int_gt(layout.mac_header, 0);
    ck_assert_int_gt(layout.checksum, 0);
    ck_assert_int_lt(layout.checksum, 512);
    ck_assert_int_lt(layout.mac_header, 512);
}
END_TEST

/* struct sk_buff { nameless union { nameless struct { ip_summed : 2 at bit 5; csum_start; csum_offset; mac_header } } at 8 } */
static size_t small_one(uint8_t ret[SMALL_MAX])
{
    static const char names[] = "\0sk_buff\0ip_summed\0csum_start\0csum_offset\0mac_header";
    const struct btf_type outer = {.name_off = 1, .info = BTF_KIND_STRUCT << 24 | 1, .size = 32};
    const struct btf_member whole = {.type = 2, .offset = 64};
    const struct btf_type middle = {.info = BTF_KIND_UNION << 24 | 1, .size = 16};
    const struct btf_member alternative = {.type = 3};
    const struct btf_type inner = {.info = 1U << 31 | BTF_KIND_STRUCT << 24 | 4, .size = 16};
    const struct btf_member members[] = {
        {.name_off = 9, .offset = 2U << 24 | 5}, {.name_off = 19, .offset = 32}, {.name_off = 30, .offset = 48}, {.name_off = 42, .offset = 64}};
    struct btf_header head = {.magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof head, .str_len = sizeof names};
    size_t len = sizeof head;
    const struct {
        const void *bytes;
        size_t len;
    } parts[] = {{&outer, sizeof outer}, {&whole, sizeof whole},   {&middle, sizeof middle}, {&alternative, sizeof alternative},
                 {&inner, sizeof inner}, {members, sizeof members}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        memcpy(ret + len, parts[i].bytes, parts[i].len);
        len += parts[i].len;
    }
    head.type_len = head.str_off = (uint32_t)(len - sizeof head);
    memcpy(ret, &head, sizeof head);
    memcpy(ret + len, names, sizeof names);
    return len + sizeof names;
}

START_TEST(nameless_ones_in_each_other)
{
    uint8_t bytes[SMALL_MAX] = {0};
    struct gate_layout layout;
    ck_assert_int_eq(result_of(bytes, small_one(bytes), &layout), 0);
    ck_assert_int_eq(layout.summed, 8);
    ck_assert_int_eq(layout.summed_shift, 5);
    ck_assert_int_eq(layout.checksum, 12);
    ck_assert_int_eq(layout.mac_header, 16);
}
END_TEST

/* Cut off at each place, and with each byte changed: an error or a layout, and never a read outside (the sanitizers look). */
START_TEST(broken_ones)
{
    uint8_t bytes[SMALL_MAX] = {0};
    struct gate_layout layout;
    const size_t len = small_one(bytes);
    for (size_t i = 0; i < len; i++) {
        ck_assert_int_ne(result_of(bytes, i, &layout), 0);
    }
    for (size_t i = 0; i < len; i++) {
        for (int change = 0; change < 3; change++) {
            const uint8_t was = bytes[i];
            bytes[i] = change == 0 ? 0xff : change == 1 ? 0 : was ^ 0x10;
            (void)result_of(bytes, len, &layout);
            bytes[i] = was;
        }
    }
    ck_assert_int_eq(gate_layout_read("/nonexistent", &layout), ENOENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate_layout");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, of_this_kernel);
    tcase_add_test(tests, nameless_ones_in_each_other);
    tcase_add_test(tests, broken_ones);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
