#include "standin.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    EXIT_BAD_CONFIGURATION = 1,
    EXIT_ARGUMENTS = 153, /* Firecracker's ArgParsing */
};

/* Options that take a value; what is not here and not a flag is refused as the real one does. */
enum option { OPT_ID, OPT_API_SOCK, OPT_CONFIG_FILE, OPT_LOG_PATH, OPT_LEVEL, OPT_MODULE, OPT_COUNT };
static const char *const option_names[OPT_COUNT] = {"id", "api-sock", "config-file", "log-path", "level", "module"};

void standin_log(const struct standin *s, const char *thread, const char *fmt, ...)
{
    char text[1024];
    char line[1200];
    char stamp[32];
    struct timespec now;
    struct tm parts;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)localtime_r(&now.tv_sec, &parts);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    int len = snprintf(line, sizeof line, "%s.%09ld [%s:%s] %s\n", stamp, now.tv_nsec, s->id, thread, text);
    AUTO_CLOSE int file = s->log_path == NULL ? -1 : open(s->log_path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    ssize_t ignored = write(file >= 0 ? file : STDOUT_FILENO, line, (size_t)len);
    (void)ignored;
}

/* _exit(): threads are asleep in calls that nobody ends, and a sanitizer's report would change the status. */
void standin_exit(const struct standin *s, int status)
{
    if (status == 0 && s->verbose) {
        standin_log(s, "main", "Firecracker exiting successfully. exit_code=0");
    } else if (status != 0) {
        standin_log(s, "main", "Firecracker exiting with error. exit_code=%d", status);
    }
    _exit(status);
}

const char *standin_boot_args(const struct standin *s)
{
    const char *args = json_get_string(s->boot_source, "boot_args");
    return args == NULL ? "" : args;
}

bool standin_boot_arg(const struct standin *s, const char *name, char *ret, size_t size)
{
    const size_t len = strlen(name);
    bool found = false;
    for (const char *word = standin_boot_args(s); *word != '\0';) {
        const size_t word_len = strcspn(word, " ");
        if (word_len > len && strncmp(word, name, len) == 0 && word[len] == '=') {
            (void)snprintf(ret, size, "%.*s", (int)(word_len - len - 1), word + len + 1);
            found = true;
        }
        word += word_len + strspn(word + word_len, " ");
    }
    return found;
}

static _Noreturn void refuse_argument(const struct standin *s, const char *words, const char *debug)
{
    standin_log(s, "main", "Arguments parsing error: %s \\n\\nFor more information try --help.", words);
    (void)fprintf(stderr, "Error: ParseArguments(%s)\n", debug);
    standin_exit(s, EXIT_ARGUMENTS);
}

static int option_of(const char *name)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        if (strcmp(name, option_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static void parse_arguments(struct standin *s, int argc, char **argv)
{
    const char *values[OPT_COUNT] = {NULL};
    char words[160];
    char debug[160];
    for (int i = 1; i < argc; i++) {
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : argv[i];
        const int option = option_of(name);
        if (option < 0) {
            (void)snprintf(words, sizeof words, "Found argument '%.60s' which wasn't expected, or isn't valid in this context.", name);
            (void)snprintf(debug, sizeof debug, "UnexpectedArgument(\"%.60s\")", name);
            refuse_argument(s, words, debug);
        }
        if (i + 1 == argc) {
            (void)snprintf(words, sizeof words, "The argument '%s' requires a value, but none was supplied.", name);
            (void)snprintf(debug, sizeof debug, "MissingValue(\"%s\")", name);
            refuse_argument(s, words, debug);
        }
        values[option] = argv[++i];
    }
    s->id = values[OPT_ID] != NULL ? values[OPT_ID] : s->id;
    s->api_sock = values[OPT_API_SOCK] != NULL ? values[OPT_API_SOCK] : "/run/firecracker.socket";
    s->config_file = values[OPT_CONFIG_FILE];
    s->log_path = values[OPT_LOG_PATH];
    s->verbose = values[OPT_LEVEL] == NULL || strcasecmp(values[OPT_LEVEL], "Error") != 0;
}

static _Noreturn void refuse_configuration(const struct standin *s, const struct standin_refusal *why)
{
    standin_log(s, "main", "RunWithApiError error: Failed to build MicroVM from Json: %s", why->words);
    (void)fprintf(stderr, "Error: RunWithApi(BuildFromJson(%s))\n", why->debug);
    standin_exit(s, EXIT_BAD_CONFIGURATION);
}

/* What goes wrong before there is an API. A deaf one has a socket that nobody will ever accept a connection on. */
static void fault_at_start(const struct standin *s)
{
    const struct standin_fault fault = standin_faults_next("start");
    switch (fault.kind) {
    case STANDIN_SLOW:
        standin_sleep_ms(fault.ms);
        break;
    case STANDIN_HANG:
        standin_hang();
    case STANDIN_DIE:
    case STANDIN_DIE_AFTER:
        standin_die(s, &fault);
    case STANDIN_DEAF:
        (void)standin_listen(s);
        standin_hang();
    case STANDIN_NO_FAULT:
    case STANDIN_HALF:
    case STANDIN_CUT:
    case STANDIN_CLOSE:
    case STANDIN_ERROR:
    case STANDIN_GARBAGE:
    case STANDIN_ENDLESS:
    case STANDIN_WRONG:
        break;
    }
}

static _Noreturn void cannot_listen(const struct standin *s)
{
    standin_log(s, "main", "RunWithApiError error: Failed to open the API socket at: %s. Check that it is not already used.", s->api_sock);
    (void)fprintf(stderr, "Error: RunWithApi(FailedToBindSocket(\"%s\"))\n", s->api_sock);
    standin_exit(s, EXIT_BAD_CONFIGURATION);
}

int main(int argc, char **argv)
{
    static struct standin standin = {.id = "anonymous-instance", .verbose = true, .machine = {.vcpu_count = 1, .mem_size_mib = 128}};
    static struct standin_api api = {.standin = &standin};
    struct standin_refusal why = {{0}, {0}};
    pthread_t thread;
    (void)prctl(PR_SET_NAME, "firecracker");
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("Firecracker v" STANDIN_VERSION "\n\n");
        (void)fflush(stdout);
        standin_exit(&standin, 0);
    }
    parse_arguments(&standin, argc, argv);
    standin.drives = json_array();
    standin.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (standin.config_file != NULL && !standin_load_config(&standin, &why)) {
        refuse_configuration(&standin, &why);
    }
    standin_faults_load(&standin);
    fault_at_start(&standin);
    api.listener = standin_listen(&standin);
    if (api.listener < 0) {
        cannot_listen(&standin);
    }
    if (standin.config_file != NULL) {
        standin_start_machine(&standin);
    }
    standin_guest_listen(&standin);
    if (pthread_create(&thread, NULL, standin_serve, &api) != 0) {
        standin_exit(&standin, EXIT_BAD_CONFIGURATION);
    }
    standin_guest_run(&standin);
}
