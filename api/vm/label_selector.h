/*
 * Inside api/ only: which VMs are meant by `?label=`. The words are those of Kubernetes' equality-based selectors:
 *
 *   key         has the label             key=value, key==value   has it with this value
 *   !key        does not have it          key!=value              has it with another value, or not at all
 *
 * A comma means "and", as the parameter given again does. In a value `\,` is a comma and `\\` a backslash; a value that begins with "=" is asked for by `==`.
 */
#ifndef SMARTVM_API_VM_LABEL_SELECTOR_H
#define SMARTVM_API_VM_LABEL_SELECTOR_H

#include "core/error.h"

#include <jansson.h>

enum { LABEL_REQUIREMENTS_MAX = 32, LABEL_KEY_MAX = 63, LABEL_VALUE_MAX = 255 };

struct label_requirement {
    char key[LABEL_KEY_MAX + 1];
    char value[LABEL_VALUE_MAX + 1];
    bool has_value;
    bool negated;
};

struct label_selector {
    struct label_requirement items[LABEL_REQUIREMENTS_MAX];
    size_t count;
};

/* Adds what the text asks for. INVALID_REQUEST, saying what is no selector. */
int label_selector_add(struct label_selector *selector, const char *text, struct error *err);

/* `labels`: an object of strings. */
bool label_selector_matches(const struct label_selector *selector, const json_t *labels);

#endif
