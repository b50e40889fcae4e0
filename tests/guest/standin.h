/*
 * The stand-in Firecracker: a program that the daemon starts as its Firecracker, for what the real one cannot be
 * made to do. It takes the same command line, reads the same configuration file, refuses the same mistakes in the
 * same words, serves the same API over its unix socket and has threads of the same names; tests/api/test_standin.py
 * holds it against the real one. There is no guest in it: the test is the guest (see standin_guest.c), and the test
 * says how it shall misbehave (see standin_faults.c). tests/guest/README.md is its manual.
 *
 * Files: standin.c command line and life; standin_config.c the configuration file; standin_http.c the socket;
 * standin_api.c requests and answers; standin_shape.c the checks of JSON bodies; standin_guest.c console and
 * frames; standin_faults.c misbehaviour. Threads: main (console, frames), fc_api (the API), fc_vcpu N (asleep).
 */
#ifndef SMARTVM_TESTS_GUEST_STANDIN_H
#define SMARTVM_TESTS_GUEST_STANDIN_H

#include "core/cleanup.h"
#include "core/json.h"
#include "core/net_addr.h"
#include "core/strbuf.h"

#include <stdatomic.h>
#include <stdint.h>

#define STANDIN_VERSION "1.12.1"

enum {
    STANDIN_NICS = 8,
    STANDIN_VCPUS = 32,         /* Firecracker's MAX_SUPPORTED_VCPUS */
    STANDIN_BODY_MAX = 51200,   /* Firecracker's default --http-api-max-payload-size */
    STANDIN_CMDLINE_MAX = 2048, /* its limit of the kernel's command line on x86-64 */
    STANDIN_FAULT_TEXT_MAX = 512,
};

enum standin_state { STANDIN_NOT_STARTED, STANDIN_RUNNING, STANDIN_PAUSED };

struct standin_machine {
    int64_t vcpu_count;
    int64_t mem_size_mib;
    bool smt;
    bool track_dirty_pages;
};

struct standin_nic {
    char iface_id[64];
    char tap_name[INTERFACE_NAME_MAX];
    char mac[MAC_TEXT_MAX]; /* "" when none was given */
    int tap;
};

/* One of them in the process. Written by the main thread before the API's thread exists; after that `machine` and
 * `boot_source` belong to the API's thread, and `state` and `ctrl_alt_del` are read by both. */
struct standin {
    const char *id;
    const char *api_sock;
    const char *config_file;
    const char *log_path;
    bool verbose; /* not only errors are logged */
    struct standin_machine machine;
    json_t *boot_source; /* NULL until there is one */
    json_t *drives;      /* array of drives as GET /vm/config shows them */
    bool entropy;
    struct standin_nic nics[STANDIN_NICS];
    size_t nic_count;
    _Atomic int state;        /* enum standin_state */
    atomic_bool ctrl_alt_del; /* pressed, and not yet noticed by the guest */
    int i8042_used;           /* keys in the keyboard controller that nobody has read */
    int wake;                 /* eventfd: the main thread shall look again */
};

/* standin.c: ends the process, after a line in the log, as the real one does. */
_Noreturn void standin_exit(const struct standin *s, int status);
/* "<time> [<id>:<thread>] <text>" to the log file, else to standard output. */
void standin_log(const struct standin *s, const char *thread, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
const char *standin_boot_args(const struct standin *s); /* "" when there are none */
/* The value of the word `name=value` among the boot arguments, the last one; false when there is none. */
bool standin_boot_arg(const struct standin *s, const char *name, char *ret, size_t size);

/* standin_shape.c: a body as serde would read it into a struct. */
enum standin_type { STANDIN_STRING, STANDIN_BOOL, STANDIN_U8, STANDIN_USIZE, STANDIN_ENUM, STANDIN_ANY };
struct standin_field {
    const char *name;
    enum standin_type type;
    bool required;
    const char *const *variants; /* of an ENUM, ends with NULL */
};
struct standin_shape {
    const char *name; /* of the Rust struct */
    const struct standin_field *fields;
    size_t count;
    bool open; /* unknown fields are passed over */
};
/* A new reference, or NULL with serde's message (without its "at line … column …") in `ret_why`. */
json_t *standin_parse(const char *text, size_t len, const struct standin_shape *shape, char *ret_why, size_t size);
bool standin_check_shape(const json_t *value, const struct standin_shape *shape, char *ret_why, size_t size);

/*
 * standin_config.c: false with what is wrong, in Firecracker's two forms: `words` for people (its log) and
 * `debug` (its standard error). The machine is built: TAPs are open.
 */
struct standin_refusal {
    char words[512];
    char debug[512];
};
bool standin_load_config(struct standin *s, struct standin_refusal *why);
extern const struct standin_shape standin_machine_shape;
extern const struct standin_shape standin_boot_shape;
bool standin_check_boot_source(const json_t *source, struct standin_refusal *why);
const char *standin_check_machine(const struct standin_machine *machine); /* NULL when it is right */
void standin_start_machine(struct standin *s);                            /* vCPU threads; the state becomes running */

/* standin_api.c: the answer to one request. `path` begins with '/'; body NULL when there was none. */
struct standin_reply {
    int status;
    struct strbuf body;
};
void standin_answer(struct standin *s, const char *method, const char *path, const char *body, size_t len, struct standin_reply *reply);
/* The name of a request for standin_faults.c: "info", "pause", …; "other" when it is none of those. */
const char *standin_operation(const char *method, const char *path, const char *body, size_t len);

/* standin_http.c: the thread fc_api, its only entry. arg: struct standin. */
int standin_listen(const struct standin *s);
struct standin_api {
    struct standin *standin;
    int listener;
};
void *standin_serve(void *arg);

/* standin_faults.c */
enum standin_fault_kind {
    STANDIN_NO_FAULT,
    STANDIN_SLOW,
    STANDIN_HANG,
    STANDIN_HALF,
    STANDIN_CUT,
    STANDIN_CLOSE,
    STANDIN_ERROR,
    STANDIN_DIE,
    STANDIN_DIE_AFTER,
    STANDIN_GARBAGE,
    STANDIN_ENDLESS,
    STANDIN_WRONG,
    STANDIN_DEAF,
};
struct standin_fault {
    enum standin_fault_kind kind;
    char op[24];
    int64_t nth;   /* of the matching calls, from 1 */
    int64_t times; /* how many calls from the nth on; 0 for all */
    int64_t ms;
    int64_t status;
    int64_t seen; /* matching calls so far */
    char words[128];
};
/* Reads every `standin.fault=` among the boot arguments; ends the process with status 64 on one it can't read. */
void standin_faults_load(const struct standin *s);
/* One more fault, or "clear": answers "ok" or what is wrong. */
const char *standin_faults_add(const char *text);
/* What shall go wrong with this call; counts it. */
struct standin_fault standin_faults_next(const char *op);
_Noreturn void standin_die(const struct standin *s, const struct standin_fault *fault);
void standin_sleep_ms(int64_t ms);
_Noreturn void standin_hang(void);

/* standin_guest.c: the guest's side; runs on the main thread until the process ends. It listens before the API answers. */
void standin_guest_listen(struct standin *s);
_Noreturn void standin_guest_run(struct standin *s);
void standin_console(const char *text); /* never waits; what does not fit is lost, as with the real one */

#endif
