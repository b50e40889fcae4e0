/* Uids of VMMs: given out once, kept over the end of a daemon, at rest when they are given back, and nobody's account. */
#include "worker/vm/uids.h"

#include "core/cleanup.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FIRST = 1900000000 };

static char top[64], dir[80];
static char state[2][80];
static struct config config;
static struct error err;

#define must(result) ck_assert_msg((result) == 0, "%s: %s", #result, err.message)

static void setup(void)
{
    (void)snprintf(top, sizeof top, "/tmp/uids-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    (void)snprintf(dir, sizeof dir, "%s/uids", top);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(state[i], sizeof state[i], "%s/state%d", top, i);
        ck_assert_int_eq(mkdir(state[i], 0700), 0);
    }
    memset(&config, 0, sizeof config);
    config.state_dir = state[0];
    config.vmm.uid_first = FIRST;
    config.vmm.uid_count = 3;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static void teardown(void)
{
    ck_assert_int_eq(nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct uids *open_of(int daemon)
{
    struct uids *uids = NULL;
    config.state_dir = state[daemon];
    must(uids_open(dir, &config, &uids, &err));
    return uids;
}

static uid_t take(struct uids *uids, const char *id)
{
    uid_t uid = 0;
    must(uids_take(uids, id, &uid, &err));
    return uid;
}

static void age(uid_t uid)
{
    char path[120];
    const struct timespec times[2] = {{.tv_sec = time(NULL) - UIDS_QUARANTINE_S - 1}, {.tv_sec = time(NULL) - UIDS_QUARANTINE_S - 1}};
    (void)snprintf(path, sizeof path, "%s/%u", dir, (unsigned)uid);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

START_TEST(each_vm_has_one_of_its_own)
{
    struct uids *uids = open_of(0);
    const uid_t a = take(uids, "a");
    const uid_t b = take(uids, "b");
    ck_assert(a >= FIRST && a < FIRST + 3 && b >= FIRST && b < FIRST + 3 && a != b);
    ck_assert_uint_eq(take(uids, "a"), a); /* idempotent */
    ck_assert_uint_eq(uids_of(uids, "a"), a);
    ck_assert_uint_eq(uids_of(uids, "c"), 0);
    (void)take(uids, "c");
    uid_t none = 7;
    ck_assert_int_eq(uids_take(uids, "d", &none, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "all 3 uids"));
    ck_assert_uint_eq(none, 7);
    uids_close(uids);
}
END_TEST

START_TEST(what_is_taken_stays_taken)
{
    struct uids *uids = open_of(0);
    const uid_t a = take(uids, "a");
    uids_close(uids);
    uids = open_of(0);
    ck_assert_uint_eq(uids_of(uids, "a"), a);
    struct uids *other = open_of(1); /* of another daemon of the host, whose VM has the same name */
    ck_assert_uint_eq(uids_of(other, "a"), 0);
    ck_assert_uint_ne(take(other, "a"), a);
    uids_close(other);
    ck_assert_int_eq(rmdir(state[0]), 0); /* the first one's state is gone, and it with it */
    other = open_of(1);
    for (int i = 0; i < 2; i++) {
        (void)take(other, i == 0 ? "b" : "c");
    }
    uids_close(other);
    uids_close(uids);
}
END_TEST

START_TEST(one_that_is_given_back_rests)
{
    struct uids *uids = open_of(0);
    uid_t uid = 0;
    const uid_t a = take(uids, "a");
    (void)take(uids, "b");
    (void)take(uids, "c");
    must(uids_free(uids, "a", &err));
    must(uids_free(uids, "a", &err)); /* none is no failure */
    ck_assert_uint_eq(uids_of(uids, "a"), 0);
    ck_assert_int_eq(uids_take(uids, "d", &uid, &err), -1);
    uids_close(uids);
    uids = open_of(0); /* also for the next daemon */
    ck_assert_int_eq(uids_take(uids, "d", &uid, &err), -1);
    age(a);
    ck_assert_uint_eq(take(uids, "d"), a);
    uids_close(uids);
}
END_TEST

START_TEST(one_that_was_lost_is_the_vms_again)
{
    char path[120];
    struct uids *uids = open_of(0);
    const uid_t a = take(uids, "a");
    uids_close(uids);
    (void)snprintf(path, sizeof path, "%s/%u", dir, (unsigned)a);
    ck_assert_int_eq(unlink(path), 0);
    uids = open_of(0);
    ck_assert_uint_eq(uids_of(uids, "a"), 0);
    uids_restore(uids, "a", a);
    ck_assert_uint_eq(uids_of(uids, "a"), a);
    ck_assert_int_eq(access(path, F_OK), 0);
    uids_restore(uids, "a", a + 1); /* it has one */
    uids_restore(uids, "b", a);     /* somebody has it */
    ck_assert_uint_eq(uids_of(uids, "a"), a);
    ck_assert_uint_eq(uids_of(uids, "b"), 0);
    uids_close(uids);
}
END_TEST

static int note(const char *id, uid_t uid, void *ctx, struct error *e)
{
    char *seen = ctx;
    const size_t len = strlen(seen);
    (void)uid;
    (void)snprintf(seen + len, 16 - len, "%s", id);
    return strcmp(id, "b") == 0 ? error_set(e, ERR_SYSTEM, "enough") : 0;
}

START_TEST(all_are_told)
{
    char seen[16] = "";
    struct uids *uids = open_of(0);
    must(uids_each(uids, note, seen, &err));
    ck_assert_str_eq(seen, "");
    (void)take(uids, "a");
    (void)take(uids, "b");
    (void)take(uids, "c");
    ck_assert_int_eq(uids_each(uids, note, seen, &err), -1);
    ck_assert_str_eq(seen, "ab");
    uids_close(uids);
}
END_TEST

static const struct {
    const char *text;
    int mode;
} damaged[] = {{"", 0600}, {"no newline", 0600}, {"/nonexistent\n", 0600}, {"/nonexistent\nx", 0000}, {"\n\n", 0600}};

START_TEST(what_is_no_entry_is_nobodys)
{
    char path[120];
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/%d", dir, FIRST);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq((int)write(fd, damaged[_i].text, strlen(damaged[_i].text)), (int)strlen(damaged[_i].text));
    ck_assert_int_eq(fchmod(fd, (mode_t)damaged[_i].mode), 0);
    struct uids *uids = open_of(0);
    ck_assert_uint_ge(take(uids, "a"), FIRST);
    uids_close(uids);
}
END_TEST

START_TEST(a_directory_that_others_may_enter_is_refused)
{
    struct uids *uids = NULL;
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(uids_open(dir, &config, &uids, &err), -1);
    ck_assert_ptr_null(uids);
}
END_TEST

static const struct {
    const char *file, *line;
    uid_t first;
    uint32_t count;
    const char *words; /* "": it is free */
} ranges[] = {
    {"passwd", "nobody:x:65534:65534:nobody:/:/bin/false\n", 65500, 100, "'nobody' has 65534"},
    {"passwd", "nobody:x:65534:65534:nobody:/:/bin/false\n", 65535, 100, ""},
    {"passwd", "nobody:x:65534:65534:nobody:/:/bin/false\n", 65534, 1, "'nobody'"},
    {"passwd", "nobody:x:65534:65534:nobody:/:/bin/false\n", 65000, 534, ""},
    {"group", "a:x:1000:\nnogroup:x:65534:\n", 65500, 100, "'nogroup' has 65534"},
    {"subuid", "user:100000:65536\n", 165535, 1, "'user' has 100000 to 165535 in subuid"},
    {"subuid", "user:100000:65536\n", 165536, 10, ""},
    {"subgid", "user:100000:65536\n", 90000, 10001, "in subgid"},
    {"subuid", "user:4294967295:4294967295\nnonsense\n::\nx:y:z\n", 1879048192, 65536, ""},
    {"passwd", "+::::::\n\n# x\n:x::\n", 1879048192, 65536, ""},
};

START_TEST(no_account_has_one_of_them)
{
    char path[120];
    char words[UIDS_WORDS_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", top, ranges[_i].file);
    AUTO_FCLOSE FILE *file = fopen(path, "we");
    ck_assert_int_ge(fputs(ranges[_i].line, file), 0);
    ck_assert_int_eq(fflush(file), 0);
    must(uids_check_range(top, ranges[_i].first, ranges[_i].count, words, &err));
    if (ranges[_i].words[0] == '\0') {
        ck_assert_str_eq(words, "");
    } else {
        ck_assert_msg(strstr(words, ranges[_i].words) != NULL, "%s", words);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uids");
    TCase *tc = tcase_create("uids");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_vm_has_one_of_its_own);
    tcase_add_test(tc, what_is_taken_stays_taken);
    tcase_add_test(tc, one_that_is_given_back_rests);
    tcase_add_test(tc, one_that_was_lost_is_the_vms_again);
    tcase_add_test(tc, all_are_told);
    tcase_add_loop_test(tc, what_is_no_entry_is_nobodys, 0, ARRAY_LEN(damaged));
    tcase_add_test(tc, a_directory_that_others_may_enter_is_refused);
    tcase_add_loop_test(tc, no_account_has_one_of_them, 0, ARRAY_LEN(ranges));
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
