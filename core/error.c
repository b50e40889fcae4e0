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

/* Bytes of the UTF-8 character (RFC 3629) that begins there; 0 when it is none. */
static size_t character_bytes(const unsigned char *p)
{
    const size_t len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    const bool is_overlong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90);
    const bool is_beyond = (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf4 && p[1] >= 0x90); /* surrogates; U+110000 and above */
    return is_overlong || is_beyond ? 0 : len;
}

/* Messages become JSON, which has to be UTF-8: names of files and words of others need not be, and a cut goes through the middle of a character. */
static void make_utf8(char *text)
{
    for (size_t len; *text != '\0'; text += len > 0 ? len : 1) {
        len = character_bytes((const unsigned char *)text);
        if (len == 0) {
            *text = '?';
        }
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
        make_utf8(message);
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
