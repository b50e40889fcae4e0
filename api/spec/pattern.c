/* Patterns: which ones mean the same to all who read the document, and their compiled form. */
#include "api/spec/schema.h"

#include <stdlib.h>
#include <string.h>

enum { REPETITIONS_MAX = 1 << 18 }; /* product of all {n,m}: regcomp() writes them out */

/* {n}, {n,} and {n,m}: the larger bound. */
static unsigned long repetitions(const char *brace)
{
    char *end = NULL;
    unsigned long low = strtoul(brace + 1, &end, 10);
    unsigned long high = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
    unsigned long most = high > low ? high : low;
    return most > REPETITIONS_MAX ? REPETITIONS_MAX + 1 : most + (most == 0);
}

/* Skips a bracket expression; *p is left at its last character, or before the end of the text. */
static const char *bracket_fault(const char **p)
{
    const char *q = *p + 1;
    q += *q == '^';
    if (*q == ']') {
        return "has empty brackets";
    }
    for (; *q != '\0' && *q != ']'; q++) {
        if (*q == '\\') {
            return "has a backslash between brackets";
        }
        if (*q == '[' && q[1] != '\0' && strchr(":.=", q[1]) != NULL) {
            return "has a class of characters by name";
        }
    }
    *p = *q == ']' ? q : q - 1;
    return NULL;
}

/*
 * A pattern is read as a POSIX extended regular expression here, and as ECMAScript's by those who use the
 * document: what means another thing in the two is refused. So is what takes exponential time (references to
 * groups), or memory out of proportion.
 */
static const char *find_fault(const char *pattern)
{
    static const char escapable[] = "^$.[]|()*+?{}\\/-";
    unsigned long product = 1;
    for (const char *p = pattern; *p != '\0'; p++) {
        const char *fault = NULL;
        if (*p == '\\') {
            p++;
            fault = *p == '\0' || strchr(escapable, *p) == NULL ? "has a backslash before an ordinary character" : NULL;
        } else if (*p == '[') {
            fault = bracket_fault(&p);
        } else if (*p == '(' && p[1] == '?') {
            fault = "has a group with (?";
        } else if (*p == '{') {
            product *= repetitions(p);
            fault = product > REPETITIONS_MAX ? "repeats too often" : NULL;
        }
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}

int schema_compile_pattern(const char *pattern, const struct place *at, regex_t **ret, struct error *err)
{
    const char *fault = strlen(pattern) > SCHEMA_PATTERN_MAX ? "is too long" : find_fault(pattern);
    if (fault != NULL) {
        return place_error(err, at, "'%.64s' %s", pattern, fault);
    }
    regex_t *regex = calloc(1, sizeof *regex);
    if (regex == NULL) {
        return error_oom(err);
    }
    int code = regcomp(regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        char words[128];
        (void)regerror(code, regex, words, sizeof words);
        free(regex);
        return place_error(err, at, "'%s' is not a regular expression: %s", pattern, words);
    }
    *ret = regex;
    return 0;
}
