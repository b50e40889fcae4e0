#include "api/json_out.h"

#include "core/clock.h"

static void add_escaped(struct strbuf *b, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char letter = c >= 0x20 ? (char)c : letters[c];
    if (letter != '\0') {
        strbuf_add_bytes(b, (char[]){'\\', letter}, 2);
    } else {
        strbuf_add_bytes(b, (char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
    }
}

void json_out_string(struct strbuf *b, const char *text)
{
    if (text == NULL) {
        strbuf_add_bytes(b, "null", 4);
        return;
    }
    strbuf_add_bytes(b, "\"", 1);
    const char *plain = text;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\') {
            strbuf_add_bytes(b, plain, (size_t)(text - plain));
            add_escaped(b, c);
            plain = text + 1;
        }
    }
    strbuf_add_bytes(b, plain, (size_t)(text - plain));
    strbuf_add_bytes(b, "\"", 1);
}

void json_out_int(struct strbuf *b, int64_t value)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        text[--at] = '-';
    }
    strbuf_add_bytes(b, text + at, sizeof text - at);
}

void json_out_bool(struct strbuf *b, bool value)
{
    strbuf_add(b, value ? "true" : "false");
}

void json_out_time(struct strbuf *b, int64_t wall_ms)
{
    char text[CLOCK_TEXT_MAX];
    strbuf_add_char(b, '"');
    strbuf_add(b, clock_format(wall_ms, text));
    strbuf_add_char(b, '"');
}
