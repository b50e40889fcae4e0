/* Claims: what excludes what, and real ones between processes of one network namespace. */
#include "host/link/claim.h"

#include "host/link/claim_list.h"
#include "netns.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error err;

START_TEST(what_excludes_what)
{
    static const struct {
        enum claim_kind kind;
        const char *a, *b;
        bool excludes;
    } cases[] = {
        {CLAIM_BRIDGE, "svbr0", "svbr0", true},
        {CLAIM_BRIDGE, "svbr0", "svbr1", false},
        {CLAIM_BRIDGE, "b", "bt1", true},                         /* the TAP bt1t2 begins as b's do */
        {CLAIM_BRIDGE, "a-long-bridge1", "a-long-bridge2", true}, /* nine bytes of both are the same */
        {CLAIM_SUBNET, "10.0.0.0/24", "10.0.1.0/24", false},
        {CLAIM_SUBNET, "10.0.0.0/8", "10.0.1.0/24", true},
        {CLAIM_SUBNET6, "fd00:1::/64", "fd00:1::/112", true},
        {CLAIM_SUBNET6, "fd00:1::/64", "fd00:2::/64", false},
        {CLAIM_ROUTE_TABLE, "51820", "51820", true},
        {CLAIM_ROUTE_TABLE, "51820", "5182", false},
        {CLAIM_TUNNEL, "svwg0", "svwg0", true},
        {CLAIM_TUNNEL, "svwg0", "svwg1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(claim_excludes(cases[i].kind, cases[i].a, cases[i].b) == cases[i].excludes, "%s and %s", cases[i].a, cases[i].b);
        ck_assert(claim_excludes(cases[i].kind, cases[i].b, cases[i].a) == cases[i].excludes);
    }
}
END_TEST

START_TEST(names)
{
    struct claim_listed listed;
    static const char *const wrong[] = {"",
                                        "smartvmd",
                                        "smartvmd bridge svbr0 12",
                                        "smartvmd bridge svbr0 x svbr0",
                                        "smartvmd bridge svbr0 12 svbr0 more",
                                        "smartvmd bridge svbr0 12 sixteen-bytes-xx",
                                        "other bridge svbr0 12 svbr0"};
    ck_assert(claim_parse("smartvmd bridge svbr0 12 svbr0", 30, &listed));
    ck_assert_str_eq(listed.kind, "bridge");
    ck_assert_str_eq(listed.value, "svbr0");
    ck_assert_int_eq(listed.pid, 12);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(!claim_parse(wrong[i], strlen(wrong[i]), &listed), "%s", wrong[i]);
    }
    ck_assert(!claim_parse("smartvmd bridge svbr0 12 s\0br0", 30, &listed));
}
END_TEST

/* A process that holds a claim; -1 when it could not. */
static pid_t holder(enum claim_kind kind, const char *value, const char *bridge, uid_t uid)
{
    int ready[2];
    char byte = 0;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct claims *claims = NULL;
        if (uid == 0) {
            byte = claims_new(bridge, &claims, NULL) == 0 && claim_take(claims, kind, value, 0, NULL) == 0;
        } else if (setresuid(uid, uid, uid) == 0) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "smartvmd bridge %s %d %s", value, (int)getpid(), bridge);
            int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
            byte = bind(fd, (struct sockaddr *)&address, (socklen_t)(sizeof address.sun_family + 1 + (size_t)len)) == 0;
        }
        if (write(ready[1], &byte, 1) == 1 && byte) {
            (void)pause();
        }
        _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    if (!byte) {
        (void)waitpid(child, NULL, 0); /* until then it has copies of our claims */
    }
    return byte ? child : -1;
}

static void end(pid_t child)
{
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
}

START_TEST(the_second_is_refused_by_the_name_of_the_first)
{
    struct claims *claims = NULL;
    char pid[32];
    netns_enter();
    pid_t child = holder(CLAIM_ROUTE_TABLE, "51820", "svbr1", 0);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(claims_new("svbr0", &claims, &err), 0);
    ck_assert_int_eq(claim_check(claims, CLAIM_ROUTE_TABLE, "51820", &err), -1);
    ck_assert_int_eq(claim_take(claims, CLAIM_ROUTE_TABLE, "51820", 50, &err), -1);
    ck_assert_int_eq(err.code, ERR_IN_USE);
    (void)snprintf(pid, sizeof pid, "pid %d (bridge svbr1)", (int)child);
    ck_assert_msg(strstr(err.message, pid) != NULL && strstr(err.message, "51820") != NULL, "%s", err.message);
    ck_assert_int_eq(claim_take(claims, CLAIM_ROUTE_TABLE, "51821", 0, &err), 0);
    ck_assert_int_eq(claim_take(claims, CLAIM_ROUTE_TABLE, "51821", 0, &err), 0); /* ours */
    ck_assert_int_eq(claim_take(claims, CLAIM_TUNNEL, "51820", 0, &err), 0);      /* another kind */
    ck_assert_int_eq(holder(CLAIM_ROUTE_TABLE, "51821", "svbr2", 0), -1);
    claim_drop_others(claims, CLAIM_ROUTE_TABLE, NULL);
    pid_t other = holder(CLAIM_ROUTE_TABLE, "51821", "svbr2", 0);
    ck_assert_int_gt(other, 0);
    end(other);
    end(child); /* by kill -9: at once it is free */
    ck_assert_int_eq(claim_take(claims, CLAIM_ROUTE_TABLE, "51820", 500, &err), 0);
    claims_free(claims);
}
END_TEST

START_TEST(each_network_namespace_has_its_own)
{
    struct claims *claims = NULL;
    netns_enter();
    pid_t child = holder(CLAIM_BRIDGE, "svbr0", "svbr0", 0);
    ck_assert_int_gt(child, 0);
    netns_enter();
    ck_assert_int_eq(claims_new("svbr0", &claims, &err), 0);
    ck_assert_int_eq(claim_take(claims, CLAIM_BRIDGE, "svbr0", 0, &err), 0);
    claims_free(claims);
    end(child);
}
END_TEST

START_TEST(a_claim_of_anybody_but_root_is_none)
{
    struct claims *claims = NULL;
    netns_enter();
    pid_t child = holder(CLAIM_BRIDGE, "svbr0", "svbr0", 65534);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(claims_new("svbr0", &claims, &err), 0);
    ck_assert_msg(claim_take(claims, CLAIM_BRIDGE, "svbr0", 0, &err) == 0, "%s", err.message);
    claims_free(claims);
    end(child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("claim");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, what_excludes_what);
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, the_second_is_refused_by_the_name_of_the_first);
    tcase_add_test(tcase, each_network_namespace_has_its_own);
    tcase_add_test(tcase, a_claim_of_anybody_but_root_is_none);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
