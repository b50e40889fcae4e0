#include "api/spec/schema.h"

#include "core/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 character at p, or 0 when there is none. */
static size_t character_len(const unsigned char *p)
{
    size_t len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : 4;
    if (len == 4 && (*p < 0xf0 || *p > 0xf4)) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool wrong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f);
    return wrong ? 0 : len;
}

/* Faults go into a JSON reply and may quote anything: not UTF-8 becomes '?', what is cut ends in "...". */
static void copy_text(char *buf, size_t size, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = 0;
    while (*p != '\0') {
        size_t n = character_len(p);
        size_t step = n > 0 ? n : 1;
        if (len + step > size - 4 && strlen((const char *)p) > size - 1 - len) {
            memcpy(buf + len, "...", 4);
            return;
        }
        if (n > 0) {
            memcpy(buf + len, p, n);
        } else {
            buf[len] = '?';
        }
        len += step;
        p += step;
    }
    buf[len] = '\0';
}

static struct spec_fault *next_fault(struct spec_faults *faults)
{
    if (faults->count == LIMIT_JSON_ERRORS) {
        faults->more = true;
        return NULL;
    }
    if (faults->items == NULL) {
        faults->items = calloc(LIMIT_JSON_ERRORS, sizeof *faults->items);
    }
    if (faults->items == NULL) {
        faults->more = true;
        return NULL;
    }
    return &faults->items[faults->count++];
}

static void add(struct spec_faults *faults, const char *in, const char *pointer, const char *prefix, const char *fmt, va_list ap)
{
    struct spec_fault *fault = next_fault(faults);
    if (fault != NULL) {
        char message[2 * sizeof fault->message];
        int n = snprintf(message, sizeof message, "%s", prefix);
        size_t used = n > 0 && (size_t)n < sizeof message ? (size_t)n : 0;
        (void)vsnprintf(message + used, sizeof message - used, fmt, ap);
        fault->in = in;
        copy_text(fault->pointer, sizeof fault->pointer, pointer);
        copy_text(fault->message, sizeof fault->message, message);
    }
}

void spec_faults_add(struct spec_faults *faults, const char *in, const char *pointer, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(faults, in, pointer, "", fmt, ap);
    va_end(ap);
}

void spec_faults_free(struct spec_faults *faults)
{
    free(faults->items);
    *faults = (struct spec_faults){0};
}

void walk_fault(struct walk *walk, const struct place *at, const char *fmt, ...)
{
    walk->failed = true;
    if (walk->faults == NULL) {
        walk->ended = true;
        return;
    }
    char pointer[SPEC_POINTER_MAX];
    char prefix[64];
    bool exact = walk->name != NULL || place_format(at, pointer, sizeof pointer);
    (void)snprintf(prefix, sizeof prefix, "%s%s", exact ? "" : "something below this ", walk->prefix);
    va_list ap;
    va_start(ap, fmt);
    add(walk->faults, walk->in, walk->name != NULL ? walk->name : pointer, prefix, fmt, ap);
    va_end(ap);
    walk->ended = walk->faults->more;
}

static size_t escape(const char *key, char *buf, size_t size)
{
    size_t len = 0;
    for (const char *p = key; *p != '\0' && len + 2 < size; p++) {
        if (*p == '~' || *p == '/') {
            buf[len++] = '~';
            buf[len++] = *p == '~' ? '0' : '1';
        } else {
            buf[len++] = *p;
        }
    }
    return len;
}

static bool append(const struct place *at, char *buf, size_t size, size_t *len)
{
    if (at->parent == NULL) {
        return true;
    }
    if (!append(at->parent, buf, size, len)) {
        return false;
    }
    char token[SPEC_POINTER_MAX + 2];
    size_t token_len = at->key != NULL ? escape(at->key, token, sizeof token) : (size_t)snprintf(token, sizeof token, "%zu", at->index);
    if (*len + 1 + token_len >= size) {
        return false;
    }
    buf[(*len)++] = '/';
    memcpy(buf + *len, token, token_len);
    *len += token_len;
    return true;
}

bool place_format(const struct place *at, char *buf, size_t size)
{
    size_t len = 0;
    bool whole = append(at, buf, size, &len);
    buf[len] = '\0';
    return whole;
}

int place_error(struct error *err, const struct place *at, const char *fmt, ...)
{
    char pointer[SPEC_POINTER_MAX];
    char message[ERROR_MESSAGE_MAX / 2];
    (void)place_format(at, pointer, sizeof pointer);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    return error_set(err, ERR_INTERNAL, "API description, #%s: %s", pointer, message);
}
