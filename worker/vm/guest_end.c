#include "worker/vm/guest_end.h"

#include <string.h>

const struct guest_end_words guest_end_words[] = {
    {"Kernel panic - not syncing", GUEST_END_PANIC},
    {"reboot: Restarting system", GUEST_END_REBOOT},
    {"reboot: Power down", GUEST_END_OFF},
    {"reboot: System halted", GUEST_END_HALT},
    {"reboot: Power off not available: System halted instead", GUEST_END_HALT}, /* Linux 6.1 */
    {NULL, GUEST_END_NONE},
};

static const struct guest_end_words *words_at(const char *text, size_t len)
{
    for (const struct guest_end_words *entry = guest_end_words; entry->words != NULL; entry++) {
        size_t words_len = strlen(entry->words);
        if (words_len <= len && memcmp(text, entry->words, words_len) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void copy_line(const char *text, size_t len, char line[GUEST_LINE_MAX])
{
    size_t n = 0;
    for (; n < len && n < GUEST_LINE_MAX - 1 && text[n] != '\n' && text[n] != '\r'; n++) {
        line[n] = (char)(text[n] >= ' ' && text[n] <= '~' ? text[n] : '?');
    }
    line[n] = '\0';
}

enum guest_end guest_end_find(const char *text, size_t len, char line[GUEST_LINE_MAX])
{
    enum guest_end found = GUEST_END_NONE;
    line[0] = '\0';
    for (size_t at = 0; at < len; at++) {
        const struct guest_end_words *entry = text[at] == 'K' || text[at] == 'r' ? words_at(text + at, len - at) : NULL;
        if (entry == NULL) {
            continue;
        }
        if (entry->end != GUEST_END_PANIC || found != GUEST_END_PANIC) {
            copy_line(text + at, len - at, line);
        }
        found = entry->end;
        at += strlen(entry->words) - 1;
    }
    return found;
}

bool guest_end_is_halt(const char *text, size_t len)
{
    size_t end = len;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r')) {
        end--;
    }
    const char *begin = end > 0 ? memrchr(text, '\n', end) : NULL;
    size_t from = begin == NULL ? 0 : (size_t)(begin - text) + 1;
    char line[GUEST_LINE_MAX];
    enum guest_end found = guest_end_find(text + from, end - from, line);
    return found == GUEST_END_OFF || found == GUEST_END_HALT;
}
