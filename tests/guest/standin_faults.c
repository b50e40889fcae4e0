/*
 * Misbehaviour on demand. A fault is text: "<kind>[,op=<operation>][,nth=<n>][,times=<n>][,ms=<n>][,status=<n>]
 * [,words=<text>]", given as boot argument `standin.fault=…` (several may be given) or over the control socket
 * (standin_guest.c) while it runs. README.md has the tables of kinds and operations.
 */
#include "standin.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { FAULTS_MAX = 16, EXIT_BAD_FAULT = 64, EXIT_DIED = 66 };

static const struct {
    const char *name;
    enum standin_fault_kind kind;
} kinds[] = {
    {"slow", STANDIN_SLOW},       {"hang", STANDIN_HANG},       {"half", STANDIN_HALF},   {"cut", STANDIN_CUT},
    {"close", STANDIN_CLOSE},     {"error", STANDIN_ERROR},     {"die", STANDIN_DIE},     {"die_after", STANDIN_DIE_AFTER},
    {"garbage", STANDIN_GARBAGE}, {"endless", STANDIN_ENDLESS}, {"wrong", STANDIN_WRONG}, {"deaf", STANDIN_DEAF},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct standin_fault faults[FAULTS_MAX];
static size_t fault_count;

static enum standin_fault_kind kind_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            return kinds[i].kind;
        }
    }
    return STANDIN_NO_FAULT;
}

static bool parse_number(const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < 0) {
        return false;
    }
    *ret = value;
    return true;
}

static bool parse_setting(const char *name, const char *value, struct standin_fault *fault)
{
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {{"nth", &fault->nth}, {"times", &fault->times}, {"ms", &fault->ms}, {"status", &fault->status}};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return parse_number(value, numbers[i].number);
        }
    }
    char *text = strcmp(name, "op") == 0 ? fault->op : strcmp(name, "words") == 0 ? fault->words : NULL;
    const size_t size = text == fault->op ? sizeof fault->op : sizeof fault->words;
    return text != NULL && snprintf(text, size, "%s", value) < (int)size;
}

/* A boot argument holds no blanks: words are written with underscores. */
static bool parse_fault(const char *text, struct standin_fault *ret)
{
    char copy[STANDIN_FAULT_TEXT_MAX];
    char *rest = copy;
    *ret = (struct standin_fault){.op = "any", .nth = 1, .ms = 1000, .status = -1};
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy) {
        return false;
    }
    ret->kind = kind_of(strsep(&rest, ","));
    while (ret->kind != STANDIN_NO_FAULT && rest != NULL) {
        char *value = strsep(&rest, ",");
        const char *name = strsep(&value, "=");
        if (value == NULL || !parse_setting(name, value, ret)) {
            return false;
        }
    }
    return ret->kind != STANDIN_NO_FAULT;
}

const char *standin_faults_add(const char *text)
{
    struct standin_fault fault;
    const char *answer = "ok";
    (void)pthread_mutex_lock(&lock);
    if (strcmp(text, "clear") == 0) {
        fault_count = 0;
    } else if (!parse_fault(text, &fault)) {
        answer = "not a fault";
    } else if (fault_count == FAULTS_MAX) {
        answer = "too many faults";
    } else {
        faults[fault_count++] = fault;
    }
    (void)pthread_mutex_unlock(&lock);
    return answer;
}

void standin_faults_load(const struct standin *s)
{
    static const char name[] = "standin.fault=";
    for (const char *word = standin_boot_args(s); *word != '\0';) {
        const size_t len = strcspn(word, " ");
        if (strncmp(word, name, sizeof name - 1) == 0) {
            char text[STANDIN_FAULT_TEXT_MAX];
            (void)snprintf(text, sizeof text, "%.*s", (int)(len - (sizeof name - 1)), word + sizeof name - 1);
            if (strcmp(standin_faults_add(text), "ok") != 0) {
                standin_log(s, "main", "standin: %s is not a fault", text);
                standin_exit(s, EXIT_BAD_FAULT);
            }
        }
        word += len + strspn(word + len, " ");
    }
}

struct standin_fault standin_faults_next(const char *op)
{
    struct standin_fault result = {.kind = STANDIN_NO_FAULT};
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < fault_count; i++) {
        struct standin_fault *fault = &faults[i];
        /* The start is no call: only faults that name it concern it. */
        const bool any = strcmp(fault->op, "any") == 0 && strcmp(op, "start") != 0;
        if (!any && strcmp(fault->op, op) != 0) {
            continue;
        }
        fault->seen++;
        const bool due = fault->seen >= fault->nth && (fault->times == 0 || fault->seen < fault->nth + fault->times);
        if (due && result.kind == STANDIN_NO_FAULT) {
            result = *fault;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return result;
}

void standin_die(const struct standin *s, const struct standin_fault *fault)
{
    char words[sizeof fault->words];
    (void)snprintf(words, sizeof words, "%s", fault->words[0] != '\0' ? fault->words : "standin_dies_on_demand");
    for (char *c = words; *c != '\0'; c++) {
        *c = *c == '_' ? ' ' : *c;
    }
    (void)fprintf(stderr, "%s\n", words);
    standin_exit(s, fault->status < 0 ? EXIT_DIED : (int)fault->status);
}

void standin_sleep_ms(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

void standin_hang(void)
{
    for (;;) {
        standin_sleep_ms(60000);
    }
}
