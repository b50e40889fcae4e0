/* The text of wg-quick(8), line by line. */
#include "core/wireguard_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum section { SECTION_NONE, SECTION_INTERFACE, SECTION_PEER };

struct reader {
    struct wireguard_build build;
    enum section section;
    bool had_interface;
    unsigned seen; /* a bit for each row of wireguard_key_rows, of this section */
    unsigned line;
};

/* What wg-quick(8) knows and the daemon does not do. */
static const struct {
    const char *name;
    bool refused;
    enum wireguard_warning warning; /* when it is not */
} other_keys[] = {
    {"DNS", false, WIREGUARD_IGNORED_DNS},
    {"Table", false, WIREGUARD_IGNORED_TABLE},
    {"PreUp", true, WIREGUARD_WARNING_COUNT_},
    {"PostUp", true, WIREGUARD_WARNING_COUNT_},
    {"PreDown", true, WIREGUARD_WARNING_COUNT_},
    {"PostDown", true, WIREGUARD_WARNING_COUNT_},
    {"SaveConfig", true, WIREGUARD_WARNING_COUNT_},
};

static const char white_space[] = " \t\r\v\f";

/* In place. */
static char *trim(char *text)
{
    text += strspn(text, white_space);
    size_t len = strlen(text);
    while (len > 0 && strchr(white_space, text[len - 1]) != NULL) {
        text[--len] = '\0';
    }
    return text;
}

static int begin_section(struct reader *reader, const char *line, struct error *err)
{
    reader->seen = 0;
    if (strcasecmp(line, "[interface]") == 0) {
        if (reader->had_interface) {
            return wireguard_fault(err, "there may be one section [Interface] only");
        }
        reader->had_interface = true;
        reader->section = SECTION_INTERFACE;
        return 0;
    }
    if (strcasecmp(line, "[peer]") != 0) {
        return wireguard_fault(err, "sections are [Interface] and [Peer]");
    }
    reader->section = SECTION_PEER;
    reader->build.peer = wireguard_add_peer(&reader->build, err);
    return reader->build.peer != NULL ? 0 : -1;
}

/* An empty list is one without elements: wg(8) takes `AllowedIPs =` for none. */
static int set_list(struct reader *reader, const struct wireguard_key_row *row, char *value, struct error *err)
{
    bool more = value[0] != '\0';
    while (more) {
        size_t len = strcspn(value, ",");
        more = value[len] == ',';
        value[len] = '\0';
        if (row->set(&reader->build, trim(value), err) != 0) {
            return -1;
        }
        value += len + 1;
    }
    return 0;
}

static int set_key(struct reader *reader, size_t number, char *value, struct error *err)
{
    const struct wireguard_key_row *row = &wireguard_key_rows[number];
    int result = 0;
    if (row->in_peer != (reader->section == SECTION_PEER)) {
        result = wireguard_fault(err, "belongs into section %s", row->in_peer ? "[Peer]" : "[Interface]");
    } else if (row->is_list) {
        result = set_list(reader, row, value, err);
    } else if ((reader->seen & 1U << number) != 0) {
        result = wireguard_fault(err, "may be there once");
    } else {
        result = row->set(&reader->build, value, err);
    }
    reader->seen |= 1U << number;
    return result == 0 ? 0 : error_prefix(err, "%s", row->name);
}

static int set_other(struct reader *reader, const char *name, struct error *err)
{
    for (size_t i = 0; i < sizeof other_keys / sizeof other_keys[0]; i++) {
        if (strcasecmp(name, other_keys[i].name) != 0) {
            continue;
        }
        if (reader->section != SECTION_INTERFACE) {
            return wireguard_fault(err, "%s: belongs into section [Interface]", other_keys[i].name);
        }
        if (other_keys[i].refused) {
            return wireguard_fault(err, "%s: is refused: the daemon runs no commands and writes no files of a configuration", other_keys[i].name);
        }
        reader->build.config->warnings |= 1U << other_keys[i].warning;
        return 0;
    }
    return wireguard_fault(err, "the key of this line is not known");
}

static int read_line(struct reader *reader, char *line, struct error *err)
{
    line[strcspn(line, "#;")] = '\0';
    line = trim(line);
    if (line[0] == '\0') {
        return 0;
    }
    if (line[0] == '[') {
        return begin_section(reader, line, err);
    }
    char *equals = strchr(line, '=');
    if (equals == NULL || reader->section == SECTION_NONE) {
        return wireguard_fault(err, equals == NULL ? "is neither a section nor \"key = value\"" : "stands before the first section");
    }
    *equals = '\0';
    const char *name = trim(line);
    char *value = trim(equals + 1);
    for (size_t i = 0; i < WIREGUARD_KEY_COUNT; i++) {
        if (strcasecmp(name, wireguard_key_rows[i].name) == 0) {
            return set_key(reader, i, value, err);
        }
    }
    return set_other(reader, name, err);
}

static int read_lines(struct reader *reader, char *text, struct error *err)
{
    bool more = true;
    while (more) {
        size_t len = strcspn(text, "\n");
        more = text[len] == '\n';
        text[len] = '\0';
        reader->line++;
        if (read_line(reader, text, err) != 0) {
            return error_prefix(err, "line %u", reader->line);
        }
        text += len + 1;
    }
    if (wireguard_key_is_zero(&reader->build.config->private_key)) {
        return wireguard_fault(err, "a private key is required");
    }
    return wireguard_finish(reader->build.config, err);
}

int wireguard_parse_text(const char *text, bool ipv6, struct wireguard *ret, struct error *err)
{
    struct reader reader = {.build = {.config = ret, .ipv6 = ipv6}};
    size_t len = strlen(text);
    if (len > WIREGUARD_TEXT_MAX) {
        return wireguard_fault(err, "must have %d bytes at most", WIREGUARD_TEXT_MAX);
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        return error_oom(err);
    }
    memcpy(copy, text, len + 1);
    int result = read_lines(&reader, copy, err);
    explicit_bzero(copy, len);
    free(copy);
    return result;
}
