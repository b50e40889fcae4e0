/* What stands in the control files that limit a cgroup: written, read again, and compared. */
#include "host/process/cgroup_limit_files.h"

#include "core/cleanup.h"
#include "host/process/block_device.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

static const struct cgroup_support everything = {.mounted = true, .memory = true, .cpu = true, .pids = true, .io = true};

static struct cgroup_limits some(void)
{
    return (struct cgroup_limits){
        .memory_max = 1 << 20, .pids_max = 66, .cpu_max = 150000, .cpu_weight = 7, .io_device = makedev(254, 16), .io_max = {1, 0, 3, 4}};
}

static const struct {
    enum cgroup_limit_kind kind;
    const char *set, *unset;
} written[] = {
    {CGROUP_MEMORY_MAX, "1048576", "max"},
    {CGROUP_PIDS_MAX, "66", "max"},
    {CGROUP_CPU_MAX, "150000 100000", "max 100000"},
    {CGROUP_CPU_WEIGHT, "7", "100"},
    {CGROUP_IO_MAX, "254:16 rbps=1 wbps=max riops=3 wiops=4", ""},
};

START_TEST(what_is_written_is_read_again)
{
    const struct cgroup_limit_file *file = &cgroup_limit_files[written[_i].kind];
    const struct cgroup_limits set = some();
    const struct cgroup_limits none = {.memory_max = 0};
    struct cgroup_limits found = {.io_device = set.io_device};
    char text[CGROUP_VALUE_MAX];
    char again[CGROUP_VALUE_MAX];
    ck_assert_int_eq(written[_i].kind, _i); /* each row is here */
    file->format(&none, text);
    ck_assert_str_eq(text, written[_i].unset);
    file->format(&set, text);
    ck_assert_str_eq(text, written[_i].set);
    file->parse(text, &found);
    file->format(&found, again);
    ck_assert_str_eq(again, text);
}
END_TEST

static const struct {
    enum cgroup_limit_kind kind;
    const char *text, *as_we_write;
} read_as[] = {
    {CGROUP_MEMORY_MAX, "max\n", "max"},
    {CGROUP_MEMORY_MAX, "4096\n", "4096"},
    {CGROUP_CPU_MAX, "max 50000\n", "max 100000"},
    {CGROUP_CPU_MAX, "25000 50000\n", "50000 100000"},
    {CGROUP_CPU_MAX, "", "max 100000"},
    {CGROUP_CPU_MAX, "5 0", "max 100000"},
    {CGROUP_CPU_WEIGHT, "100\n", "100"},
    {CGROUP_IO_MAX, "", "254:16 rbps=max wbps=max riops=max wiops=max"},
    {CGROUP_IO_MAX, "254:1 rbps=9 wbps=9 riops=9 wiops=9\n254:160 rbps=8 wbps=8 riops=8 wiops=8\n", "254:16 rbps=max wbps=max riops=max wiops=max"},
    {CGROUP_IO_MAX, "254:1 rbps=9 wbps=9 riops=9 wiops=9\n254:16 rbps=max wbps=2097152 riops=max wiops=120\n",
     "254:16 rbps=max wbps=2097152 riops=max wiops=120"},
    {CGROUP_IO_MAX, "254:16 rbps=5\n254:17 rbps=9 wbps=9 riops=9 wiops=9\n", "254:16 rbps=5 wbps=max riops=max wiops=max"},
};

START_TEST(what_the_kernel_and_others_write)
{
    struct cgroup_limits found = some();
    char text[CGROUP_VALUE_MAX];
    cgroup_limit_files[read_as[_i].kind].parse(read_as[_i].text, &found);
    cgroup_limit_files[read_as[_i].kind].format(&found, text);
    ck_assert_str_eq(text, read_as[_i].as_we_write);
}
END_TEST

START_TEST(what_differs)
{
    const struct cgroup_support nothing = {.mounted = true};
    const struct cgroup_support cpu = {.cpu = true};
    char words[CGROUP_DIFFERENCE_MAX];
    struct cgroup_limits found = some();
    struct cgroup_limits wanted = some();
    cgroup_limits_compare(&everything, &wanted, &found, words);
    ck_assert_str_eq(words, "");
    found = (struct cgroup_limits){.io_device = wanted.io_device};
    cgroup_limits_compare(&nothing, &wanted, &found, words);
    ck_assert_str_eq(words, "");
    cgroup_limits_compare(&everything, &wanted, &found, words);
    ck_assert_str_eq(words, "memory.max of the cgroup is max, not 1048576");
    cgroup_limits_compare(&cpu, &wanted, &found, words);
    ck_assert_str_eq(words, "cpu.max of the cgroup is max 100000, not 150000 100000");
    found = some();
    found.io_max[3] = 0;
    cgroup_limits_compare(&everything, &wanted, &found, words);
    ck_assert_str_eq(words, "io.max of the cgroup is 254:16 rbps=1 wbps=max riops=3 wiops=max, not 254:16 rbps=1 wbps=max riops=3 wiops=4");
    wanted.cpu_weight = 0; /* the kernel's own */
    found = wanted;
    found.cpu_weight = 100;
    cgroup_limits_compare(&everything, &wanted, &found, words);
    ck_assert_str_eq(words, "");
}
END_TEST

START_TEST(disks_of_files)
{
    ck_assert_uint_eq(block_device_of("/nowhere/at/all"), 0);
    ck_assert_uint_eq(block_device_of("/proc/self"), 0);
    const dev_t root = block_device_of("/");
    char entry[64];
    (void)snprintf(entry, sizeof entry, "/sys/dev/block/%u:%u/partition", major(root), minor(root));
    ck_assert_int_ne(access(entry, F_OK), 0); /* a whole disk, or none */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cgroup_limit_files");
    TCase *tcase = tcase_create("files");
    tcase_add_loop_test(tcase, what_is_written_is_read_again, 0, (int)CGROUP_LIMIT_COUNT_);
    tcase_add_loop_test(tcase, what_the_kernel_and_others_write, 0, (int)ARRAY_LEN(read_as));
    tcase_add_test(tcase, what_differs);
    tcase_add_test(tcase, disks_of_files);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
