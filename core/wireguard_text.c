/* The text of wg-quick(8), line by line. */
#include "core/wireguard_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum section {
    SECTION_NONE,
    SECTION_INTERFACE,
    SECTION_PEER,
    SECTION_WRONG /* its lines are not looked at: they would only repeat that */
};

struct reader {
    struct wireguard_build build;
    enum section section;
    bool had_interface;
    unsigned seen; /* a bit for each row of wireguard_key_rows, of this section */
    unsigned line;
};

/* What wg-quick(8) knows and the daemon does not do. Without a value none of them does anything. */
static const struct {
    const char *name;
    bool refused;
    enum wireguard_warning warning; /* when it is not */
    const char *harmless;           /* a value that asks for nothing, or NULL */
} other_keys[] = {
    {"DNS", false, WIREGUARD_IGNORED_DNS, NULL},
    {"Table", false, WIREGUARD_IGNORED_TABLE, NULL},
    {"PreUp", true, WIREGUARD_WARNING_COUNT_, NULL},
    {"PostUp", true, WIREGUARD_WARNING_COUNT_, NULL},
    {"PreDown", true, WIREGUARD_WARNING_COUNT_, NULL},
    {"PostDown", true, WIREGUARD_WARNING_COUNT_, NULL},
    {"SaveConfig", true, WIREGUARD_WARNING_COUNT_, "false"},
};

/* Of AmneziaWG: texts of it look like WireGuard's, and its packets do not. */
static const char *const amnezia_keys[] = {"Jc", "Jmin", "Jmax", "S1", "S2", "S3", "S4", "H1", "H2", "H3",
                                           "H4", "I1",   "I2",   "I3", "I4", "I5", "J1", "J2", "J3", "Itime"};

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
    reader->section = SECTION_WRONG;
    if (strcasecmp(line, "[interface]") == 0) {
        if (reader->had_interface) {
            return wireguard_refuse(err, "there may be one section [Interface] only");
        }
        reader->had_interface = true;
        reader->section = SECTION_INTERFACE;
        return 0;
    }
    if (strcasecmp(line, "[peer]") != 0) {
        return wireguard_refuse(err, "sections are [Interface] and [Peer]");
    }
    if (wireguard_add_peer(&reader->build, reader->line, err) != 0) {
        return -1;
    }
    reader->section = SECTION_PEER;
    return 0;
}

static int note(struct reader *reader, struct error *err)
{
    return wireguard_note_fault(&reader->build, "", reader->line, err);
}

static int note_value(struct reader *reader, const struct wireguard_key_row *row, struct error *err)
{
    (void)error_prefix(err, "%s", row->name);
    return note(reader, err);
}

/* An empty list is one without elements: wg(8) takes `AllowedIPs =` for none. Of a wrong element the others are looked at as well. */
static int set_list(struct reader *reader, const struct wireguard_key_row *row, char *value, struct error *err)
{
    bool more = value[0] != '\0';
    while (more) {
        size_t len = strcspn(value, ",");
        more = value[len] == ',';
        value[len] = '\0';
        if (row->set(&reader->build, trim(value), err) != 0 && note_value(reader, row, err) != 0) {
            return -1;
        }
        value += len + 1;
    }
    return 0;
}

static int set_key(struct reader *reader, size_t number, char *value, struct error *err)
{
    const struct wireguard_key_row *row = &wireguard_key_rows[number];
    bool seen = (reader->seen & 1U << number) != 0;
    reader->seen |= 1U << number;
    int result = 0;
    if (row->in_peer != (reader->section == SECTION_PEER)) {
        result = wireguard_refuse(err, "belongs into section %s", row->in_peer ? "[Peer]" : "[Interface]");
    } else if (row->is_list) {
        return set_list(reader, row, value, err);
    } else if (seen) {
        result = wireguard_refuse(err, "may be there once");
    } else if (value[0] != '\0' || !row->may_be_empty) {
        result = row->set(&reader->build, value, err);
    }
    return result == 0 ? 0 : note_value(reader, row, err);
}

/* Letters, and perhaps a digit or two: no part of a key looks like that for long. */
static bool can_be_shown(const char *name)
{
    enum { LETTERS_MAX = 20, DIGITS_MAX = 2 };
    size_t letters = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    size_t digits = strspn(name + letters, "0123456789");
    return letters > 0 && letters <= LETTERS_MAX && digits <= DIGITS_MAX && name[letters + digits] == '\0';
}

static int refuse_unknown(const char *name, struct error *err)
{
    for (size_t i = 0; i < sizeof amnezia_keys / sizeof amnezia_keys[0]; i++) {
        if (strcasecmp(name, amnezia_keys[i]) == 0) {
            return wireguard_refuse(err, "%s: is a key of AmneziaWG, which is another protocol than WireGuard", amnezia_keys[i]);
        }
    }
    return can_be_shown(name) ? wireguard_refuse(err, "%s: is no key of wg(8) or wg-quick(8)", name)
                              : wireguard_refuse(err, "the key of this line is not known");
}

static int set_other(struct reader *reader, const char *name, const char *value, struct error *err)
{
    for (size_t i = 0; i < sizeof other_keys / sizeof other_keys[0]; i++) {
        if (strcasecmp(name, other_keys[i].name) != 0) {
            continue;
        }
        if (reader->section != SECTION_INTERFACE) {
            return wireguard_refuse(err, "%s: belongs into section [Interface]", other_keys[i].name);
        }
        if (value[0] == '\0' || (other_keys[i].harmless != NULL && strcasecmp(value, other_keys[i].harmless) == 0)) {
            return 0;
        }
        if (other_keys[i].refused) {
            return wireguard_refuse(err, "%s: is refused: the daemon runs no commands and writes no files of a configuration", other_keys[i].name);
        }
        reader->build.config->warnings |= 1U << other_keys[i].warning;
        return 0;
    }
    return refuse_unknown(name, err);
}

/* A fault of a key's value is noted where it is found, any other one by the caller. */
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
    if (reader->section == SECTION_WRONG) {
        return 0;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL || reader->section == SECTION_NONE) {
        return wireguard_refuse(err, equals == NULL ? "is neither a section nor \"key = value\"" : "stands before the first section");
    }
    *equals = '\0';
    const char *name = trim(line);
    char *value = trim(equals + 1);
    for (size_t i = 0; i < WIREGUARD_KEY_COUNT; i++) {
        if (strcasecmp(name, wireguard_key_rows[i].name) == 0) {
            return set_key(reader, i, value, err);
        }
    }
    return set_other(reader, name, value, err);
}

static int read_lines(struct reader *reader, char *text, struct error *err)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    bool more = true;
    if (strncmp(text, byte_order_mark, sizeof byte_order_mark - 1) == 0) {
        text += sizeof byte_order_mark - 1;
    }
    while (more) {
        size_t len = strcspn(text, "\n");
        more = text[len] == '\n';
        text[len] = '\0';
        reader->line++;
        if (read_line(reader, text, err) != 0 && note(reader, err) != 0) {
            return -1;
        }
        text += len + 1;
    }
    return wireguard_finish(&reader->build, err);
}

int wireguard_parse_text(const char *text, bool ipv6, struct wireguard *ret, struct wireguard_faults *ret_faults, struct error *err)
{
    struct error why = {.code = ERR_INTERNAL};
    struct reader reader = {.build = {.config = ret, .ipv6 = ipv6, .faults = ret_faults, .from_text = true}};
    size_t len = strlen(text);
    *ret_faults = (struct wireguard_faults){.count = 0};
    if (len > WIREGUARD_TEXT_MAX) {
        (void)wireguard_refuse(&why, "must have %d bytes at most", WIREGUARD_TEXT_MAX);
        (void)wireguard_note_fault(&reader.build, "", 0, &why);
        return wireguard_refuse(err, "%s", why.message);
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        return error_oom(err);
    }
    memcpy(copy, text, len + 1);
    int result = read_lines(&reader, copy, &why);
    explicit_bzero(copy, len);
    free(copy);
    return result == 0 ? 0 : error_set(err, why.code, "%s", why.message);
}
