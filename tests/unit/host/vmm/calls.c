/* The VMM drivers against sockets and programs that are played: right answers, wrong ones, late ones and
 * none. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "host/vmm/firecracker.h"
#include "host/vmm/qemu.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static char dir[64];

static void make_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/vmm-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static const char *in_dir(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void remove_dir(void)
{
    static const char *const names[] = {"api.sock", "program"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(in_dir(names[i]));
    }
    ck_assert_msg(rmdir(dir) == 0, "%s: a file was left behind", dir);
}

static void write_program(const char *text)
{
    AUTO_CLOSE int fd = open(in_dir("program"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
}

START_TEST(version_of_a_program)
{
    make_dir();
    char version[16];
    struct error err;
    write_program("#!/bin/sh\n[ \"$1\" = --version ] && echo Firecracker v9.8.7\n");
    ck_assert_int_eq(firecracker_version(in_dir("program"), version, sizeof version, &err), 0);
    ck_assert_str_eq(version, "9.8.7");
    ck_assert_int_eq(qemu_version(in_dir("program"), version, sizeof version, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_UNAVAILABLE);
    write_program("#!/bin/sh\nwhile :; do echo never ending; done\n");
    ck_assert_int_eq(qemu_version(in_dir("program"), version, sizeof version, &err), -1);
    write_program("#!/bin/sh\nexec sleep 60\n");
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(qemu_version(in_dir("program"), version, sizeof version, &err), -1);
    ck_assert_int_lt((int)(clock_monotonic_ms() - begin), 8000);
    ck_assert_int_eq(qemu_version("/nonesuch", version, sizeof version, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_UNAVAILABLE);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left, not even a zombie */
    remove_dir();
}
END_TEST

/*
 * A VMM's socket played from a script: each step waits until what was received contains `expect`, then sends
 * `reply`, `times` over; no reply is the end of a connection. After the last step it hangs up, or says
 * nothing any more.
 */
struct step {
    const char *expect;
    const char *reply;
    size_t times;
};

static int send_text(int fd, const char *text, size_t piece)
{
    for (size_t len = strlen(text); len > 0;) {
        ssize_t n = send(fd, text, piece < len ? piece : len, MSG_NOSIGNAL);
        if (n <= 0) {
            return -1;
        }
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

static void play(int listener, const struct step *steps, size_t count, size_t piece, bool silent)
{
    char got[4096] = "";
    size_t len = 0;
    int fd = accept(listener, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        while (steps[i].expect != NULL && strstr(got, steps[i].expect) == NULL) {
            ssize_t n = recv(fd, got + len, sizeof got - 1 - len, 0);
            if (n <= 0) {
                _exit(1);
            }
            len += (size_t)n;
            got[len] = '\0';
        }
        if (steps[i].reply == NULL) {
            (void)close(fd);
            fd = accept(listener, NULL, NULL);
            len = 0;
        }
        for (size_t k = 0; steps[i].reply != NULL && k < steps[i].times; k++) {
            if (send_text(fd, steps[i].reply, piece) != 0) {
                _exit(1);
            }
        }
    }
    if (silent) {
        (void)pause(); /* until it is killed */
    }
    _exit(0);
}

static void set_path(struct sockaddr_un *address)
{
    const char *path = in_dir("api.sock");
    ck_assert_uint_lt(strlen(path), sizeof address->sun_path);
    memcpy(address->sun_path, path, strlen(path) + 1);
}

static pid_t serve(const struct step *steps, size_t count, size_t piece, bool silent)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO_CLOSE int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    set_path(&address);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        play(listener, steps, count, piece, silent);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static void end_serving(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    (void)unlink(in_dir("api.sock"));
}

#define OK_INSTANCE \
    "HTTP/1.1 200 \r\nServer: Firecracker API\r\nContent-Type: application/json\r\nContent-Length: " \
    "19\r\n\r\n" \
    "{\"state\":\"Running\"}"

START_TEST(firecracker_calls)
{
    make_dir();
    ck_assert_int_eq(setenv("http_proxy", "http://127.0.0.1:1", 1), 0); /* must not be heeded */
    ck_assert_int_eq(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    enum vmm_state state = VMM_STATE_STARTING;
    static const struct step query[] = {{"GET / HTTP/1.1\r\n", OK_INSTANCE, 1}};
    pid_t pid = serve(query, 1, 3, true);
    ck_assert_int_eq(firecracker_query(VMM_PEER_UNJAILED(dir), 2000, &state, NULL), 0);
    ck_assert_int_eq(state, VMM_STATE_RUNNING);
    end_serving(pid);
    static const struct step pause[] = {{"PATCH /vm HTTP/1.1\r\n", "", 0}, {"{\"state\": \"Paused\"}", "HTTP/1.1 204 \r\n\r\n", 1}};
    pid = serve(pause, 2, 4096, true);
    ck_assert_int_eq(firecracker_pause(VMM_PEER_UNJAILED(dir), 2000, NULL), 0);
    end_serving(pid);
    static const struct step resume[] = {{"{\"state\": \"Resumed\"}", "HTTP/1.1 204 \r\n\r\n", 1}};
    pid = serve(resume, 1, 4096, true);
    ck_assert_int_eq(firecracker_resume(VMM_PEER_UNJAILED(dir), 2000, NULL), 0);
    end_serving(pid);
    static const struct step fault[] = {{"PUT /actions HTTP/1.1\r\n", "", 0},
                                        {"{\"action_type\": \"SendCtrlAltDel\"}", "HTTP/1.1 400 \r\nContent-Length: 23\r\n\r\n{\"fault_message\":\"No.\"}", 1}};
    struct error err;
    pid = serve(fault, 2, 4096, true);
    ck_assert_int_eq(firecracker_shutdown(VMM_PEER_UNJAILED(dir), 2000, &err), -1);
    ck_assert_str_eq(err.message, "Firecracker: No.");
    end_serving(pid);
    remove_dir();
}
END_TEST

START_TEST(firecracker_answers_that_are_none)
{
    make_dir();
    struct error err;
    enum vmm_state state;
    static const struct step endless[] = {{"GET", "HTTP/1.1 200 \r\n\r\n", 1},
                                          {NULL, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 16385}};
    pid_t pid = serve(endless, 2, 4096, true);
    ck_assert_int_eq(firecracker_query(VMM_PEER_UNJAILED(dir), 5000, &state, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "longer than 1048576 bytes"));
    end_serving(pid);
    static const struct step half[] = {{"GET", "HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{\"state\":", 1}};
    pid = serve(half, 1, 4096, false);
    ck_assert_int_eq(firecracker_query(VMM_PEER_UNJAILED(dir), 5000, &state, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    end_serving(pid);
    pid = serve(half, 1, 4096, true);
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(firecracker_query(VMM_PEER_UNJAILED(dir), 150, &state, &err), -1);
    ck_assert_int_eq(err.code, ERR_TIMEOUT);
    ck_assert_int_lt((int)(clock_monotonic_ms() - begin), 1500);
    end_serving(pid);
    remove_dir();
}
END_TEST

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define EVENT    "{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\r\n"
#define DONE     "{\"return\": {}}\r\n"

START_TEST(qemu_calls)
{
    make_dir();
    enum vmm_state state = VMM_STATE_STARTING;
    static const struct step query[] = {{NULL, EVENT GREETING, 1},
                                        {"{\"execute\": \"qmp_capabilities\"}\n", EVENT DONE EVENT EVENT, 1},
                                        {"{\"execute\": \"query-status\"}\n", EVENT "{\"return\": {\"status\": \"paused\"}}\r\n", 1}};
    pid_t pid = serve(query, 3, 5, true);
    ck_assert_int_eq(qemu_query(VMM_PEER_UNJAILED(dir), 2000, &state, NULL), 0);
    ck_assert_int_eq(state, VMM_STATE_PAUSED);
    end_serving(pid);
    static const struct {
        int (*call)(const struct vmm_peer *, int, struct error *);
        const char *command;
    } calls[] = {{qemu_pause, "{\"execute\": \"stop\"}\n"}, {qemu_resume, "{\"execute\": \"cont\"}\n"}};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct step steps[] = {{NULL, GREETING, 1}, {"qmp_capabilities", DONE, 1}, {calls[i].command, DONE, 1}};
        pid = serve(steps, 3, 4096, true);
        ck_assert_int_eq(calls[i].call(VMM_PEER_UNJAILED(dir), 2000, NULL), 0);
        end_serving(pid);
        steps[2].reply = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not today\"}}\r\n";
        pid = serve(steps, 3, 4096, true);
        ck_assert_int_eq(calls[i].call(VMM_PEER_UNJAILED(dir), 2000, &err), -1);
        ck_assert_int_eq(err.code, ERR_VMM_FAILED);
        ck_assert_str_eq(err.message, "QEMU: not today");
        end_serving(pid);
    }
    remove_dir();
}
END_TEST

/* The power button, then the keyboard; and the deadline is one for both. */
START_TEST(qemu_is_asked_twice_to_end)
{
    make_dir();
    static const struct step steps[] = {{NULL, GREETING, 1},      {"qmp_capabilities", DONE, 1}, {"{\"execute\": \"system_powerdown\"}\n", DONE, 1},
                                        {NULL, NULL, 0},          {NULL, GREETING, 1},           {"qmp_capabilities", DONE, 1},
                                        {"\"send-key\"", DONE, 1}};
    struct error err;
    pid_t pid = serve(steps, 7, 4096, true);
    ck_assert_int_eq(qemu_shutdown(VMM_PEER_UNJAILED(dir), 2000, NULL), 0);
    end_serving(pid);
    pid = serve(steps, 6, 4096, true); /* the keyboard is never answered */
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(qemu_shutdown(VMM_PEER_UNJAILED(dir), 200, &err), -1);
    ck_assert_int_eq(err.code, ERR_TIMEOUT);
    ck_assert_int_lt((int)(clock_monotonic_ms() - begin), 1500);
    end_serving(pid);
    pid = serve(steps, 2, 4096, false); /* hangs up at the power button */
    ck_assert_int_eq(qemu_shutdown(VMM_PEER_UNJAILED(dir), 2000, &err), -1);
    ck_assert_int_eq(err.code, ERR_VMM_FAILED);
    end_serving(pid);
    remove_dir();
}
END_TEST

START_TEST(qemu_answers_that_are_none)
{
    static const struct {
        struct step first, second;
        bool silent;
        enum error_code code;
        const char *words;
    } cases[] = {
        {{NULL, "{}\n", 1}, {NULL, "", 0}, true, ERR_VMM_FAILED, "does not speak"},
        {{NULL, "SSH-2.0\r\n", 1}, {NULL, "", 0}, true, ERR_VMM_FAILED, "not a JSON object"},
        {{NULL, GREETING, 1}, {"qmp", "{}\n", 1}, true, ERR_VMM_FAILED, "without words"},
        {{NULL, GREETING, 1}, {"qmp", "[1]\n", 1}, true, ERR_VMM_FAILED, "not a JSON object"},
        {{NULL, GREETING, 1}, {"qmp", "x", 16384}, true, ERR_VMM_FAILED, "more than 16384 bytes"},
        {{NULL, GREETING, 1}, {"qmp", "{\"return\"", 1}, false, ERR_VMM_FAILED, "hung up"},
        {{NULL, "", 0}, {NULL, "", 0}, false, ERR_VMM_FAILED, "hung up"},
        {{NULL, "", 0}, {NULL, "", 0}, true, ERR_TIMEOUT, "within 150 ms"},
        {{NULL, GREETING, 1}, {"qmp", "{\"return\"", 1}, true, ERR_TIMEOUT, "within 150 ms"},
    };
    make_dir();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct step steps[] = {cases[i].first, cases[i].second};
        pid_t pid = serve(steps, 2, 4096, cases[i].silent);
        struct error err;
        int timeout_ms = cases[i].code == ERR_TIMEOUT ? 150 : 5000;
        int64_t begin = clock_monotonic_ms();
        ck_assert_int_eq(qemu_pause(VMM_PEER_UNJAILED(dir), timeout_ms, &err), -1);
        ck_assert_msg(err.code == cases[i].code && strstr(err.message, cases[i].words) != NULL, "%zu: %s", i, err.message);
        ck_assert_int_lt((int)(clock_monotonic_ms() - begin), 2000);
        end_serving(pid);
    }
    remove_dir();
}
END_TEST

/* Events without end must not keep a call beyond its deadline. */
START_TEST(qemu_events_do_not_stop_the_clock)
{
    make_dir();
    static const struct step steps[] = {{NULL, GREETING, 1}, {"qmp", DONE, 1}, {"stop", EVENT, 1000000000}};
    pid_t pid = serve(steps, 3, 4096, true);
    struct error err;
    int64_t begin = clock_monotonic_ms();
    ck_assert_int_eq(qemu_pause(VMM_PEER_UNJAILED(dir), 200, &err), -1);
    ck_assert_int_eq(err.code, ERR_TIMEOUT);
    ck_assert_int_lt((int)(clock_monotonic_ms() - begin), 1500);
    end_serving(pid);
    remove_dir();
}
END_TEST

START_TEST(nobody_listens)
{
    make_dir();
    for (int i = 0; i < VMM_KIND_COUNT_; i++) {
        enum vmm_state state = VMM_STATE_PAUSED;
        struct error err;
        ck_assert_int_eq(vmm_drivers[i].query(VMM_PEER_UNJAILED(dir), 1000, &state, &err), -1);
        ck_assert_int_eq(err.code, ERR_VMM_FAILED);
        ck_assert_int_eq(err.sys_errno, ENOENT);
        end_serving(serve(NULL, 0, 1, true));
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        set_path(&address);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
        ck_assert_int_eq(close(fd), 0); /* the file stays, as after a VMM that was killed */
        ck_assert_int_eq(vmm_drivers[i].query(VMM_PEER_UNJAILED(dir), 1000, &state, &err), -1);
        ck_assert_int_eq(err.code, ERR_VMM_FAILED);
        ck_assert_int_eq(err.sys_errno, ECONNREFUSED);
        ck_assert_int_eq(state, VMM_STATE_PAUSED);
        ck_assert_int_eq(unlink(in_dir("api.sock")), 0);
    }
    remove_dir();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmm_calls");
    TCase *calls = tcase_create("calls");
    tcase_set_timeout(calls, 30);
    tcase_add_test(calls, version_of_a_program);
    tcase_add_test(calls, firecracker_calls);
    tcase_add_test(calls, firecracker_answers_that_are_none);
    tcase_add_test(calls, qemu_calls);
    tcase_add_test(calls, qemu_is_asked_twice_to_end);
    tcase_add_test(calls, qemu_answers_that_are_none);
    tcase_add_test(calls, qemu_events_do_not_stop_the_clock);
    tcase_add_test(calls, nobody_listens);
    suite_add_tcase(suite, calls);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
