#include "core/log.h"

#include "core/strbuf.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static const char *process_role = "smartvmd";

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    threshold = level;
}

void log_set_role(const char *role)
{
    process_role = role;
}

static bool is_plain(const char *value)
{
    if (*value == '\0') {
        return false;
    }
    for (const char *p = value; *p != '\0'; p++) {
        if (*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p == 0x7f) {
            return false;
        }
    }
    return true;
}

static void append_value(struct strbuf *line, const char *value)
{
    if (is_plain(value)) {
        strbuf_add(line, value);
        return;
    }
    strbuf_add_char(line, '"');
    for (const char *p = value; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            strbuf_addf(line, "\\%c", c);
        } else if (c < ' ' || c == 0x7f) {
            strbuf_addf(line, "\\x%02x", c);
        } else {
            strbuf_add_char(line, (char)c);
        }
    }
    strbuf_add_char(line, '"');
}

void log_event(enum log_level level, const char *event, ...)
{
    if (level < threshold) {
        return;
    }
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    char when[32];
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);

    struct strbuf line = STRBUF_INIT;
    strbuf_addf(&line, "time=%s.%03ldZ level=%s role=%s event=%s", when, now.tv_nsec / 1000000, level_names[level], process_role, event);
    va_list ap;
    va_start(ap, event);
    for (const char *key = va_arg(ap, const char *); key != NULL; key = va_arg(ap, const char *)) {
        const char *value = va_arg(ap, const char *);
        strbuf_addf(&line, " %s=", key);
        append_value(&line, value != NULL ? value : "-");
    }
    va_end(ap);
    strbuf_add_char(&line, '\n');
    if (!line.failed) {
        ssize_t ignored = write(STDERR_FILENO, line.data, line.len);
        (void)ignored;
    }
    strbuf_free(&line);
}
