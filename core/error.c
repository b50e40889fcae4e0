#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    const char *title;
} error_table[] = {
#define X(name, status, title, sentence) {#name, status, title},
#include "core/error.def"
#undef X
};

static void mark_truncated(char *buf, size_t size, int wanted)
{
    if (wanted >= 0 && (size_t)wanted >= size) {
        memcpy(buf + size - 4, "...", 4);
    }
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
    if (err != NULL) {
        char message[ERROR_MESSAGE_MAX];
        va_list ap;
        va_start(ap, fmt);
        mark_truncated(message, sizeof message, vsnprintf(message, sizeof message, fmt, ap));
        va_end(ap);
        err->code = code;
        err->sys_errno = 0;
        memcpy(err->message, message, sizeof message);
    }
    return -1;
}

int error_sys(struct error *err, enum error_code code, int errnum, const char *fmt, ...)
{
    if (err != NULL) {
        char text[ERROR_MESSAGE_MAX / 2];
        va_list ap;
        va_start(ap, fmt);
        mark_truncated(text, sizeof text, vsnprintf(text, sizeof text, fmt, ap));
        va_end(ap);
        const char *words = strerrordesc_np(errnum);
        (void)error_set(err, code, "%s: %s", text, words != NULL ? words : "unknown error");
        err->sys_errno = errnum;
    }
    return -1;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    if (err != NULL) {
        char text[ERROR_MESSAGE_MAX / 2];
        char old[ERROR_MESSAGE_MAX];
        va_list ap;
        va_start(ap, fmt);
        mark_truncated(text, sizeof text, vsnprintf(text, sizeof text, fmt, ap));
        va_end(ap);
        memcpy(old, err->message, sizeof old);
        int errnum = err->sys_errno;
        (void)error_set(err, err->code, "%s: %s", text, old);
        err->sys_errno = errnum;
    }
    return -1;
}

int error_oom(struct error *err)
{
    return error_set(err, ERR_OUT_OF_MEMORY, "out of memory");
}

const char *error_code_name(enum error_code code)
{
    return error_table[code].name;
}

const char *error_code_title(enum error_code code)
{
    return error_table[code].title;
}

int error_code_status(enum error_code code)
{
    return error_table[code].status;
}

int error_code_status_of_end(enum error_code code)
{
    int status = error_table[code].status;
    return status >= 500 ? status : 409;
}

bool error_code_from_name(const char *name, enum error_code *ret)
{
    for (size_t i = 0; i < ERR_COUNT_; i++) {
        if (strcmp(error_table[i].name, name) == 0) {
            *ret = (enum error_code)i;
            return true;
        }
    }
    return false;
}
