/*
 * The definition of a VM: two documents, divided by a NUL, one as it is stored or asked for, and a merge patch of it. What is accepted is read, written and
 * read again, and is the same; what is merged and accepted is, too; every fault has a pointer.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/vm_config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_fault(void *ctx, const char *pointer, const char *message)
{
    if ((pointer[0] != '\0' && pointer[0] != '/') || message[0] == '\0') {
        abort();
    }
    ++*(size_t *)ctx;
}

static void read_again(const struct vm_config *config)
{
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *text_again = NULL;
    AUTO_VM_CONFIG again = {.image = NULL};
    AUTO_JSON *json = NULL;
    if (vm_config_text(config, &text, NULL) != 0 || json_parse(text, strlen(text), &json, NULL) != 0 ||
        vm_config_parse(json, VM_CONFIG_ASKED, &again, NULL, NULL, NULL) != 0 || vm_config_text(&again, &text_again, NULL) != 0 ||
        strcmp(text, text_again) != 0 || !vm_config_equal(config, &again) || strlen(text) > LIMIT_VM_CONFIG_BYTES) {
        abort();
    }
}

static void read_document(const json_t *json, struct vm_config *ret)
{
    struct error err = {0};
    size_t faults = 0;
    if (vm_config_parse(json, VM_CONFIG_ASKED, ret, count_fault, &faults, &err) == 0) {
        read_again(ret);
    } else if (faults == 0 || err.code != ERR_INVALID_CONFIG) {
        abort();
    }
    for (const char *p = err.message; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~') {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = malloc(size + 1);
    AUTO_VM_CONFIG stored = {.image = NULL};
    AUTO_VM_CONFIG config = {.image = NULL};
    AUTO_VM_CONFIG changed = {.image = NULL};
    AUTO_JSON *json = NULL;
    AUTO_JSON *patch = NULL;
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    const size_t len = strlen(text);
    if (vm_config_parse_text(text, &stored, NULL) == 0) {
        read_again(&stored);
    }
    if (json_parse(text, len, &json, NULL) != 0) {
        return 0;
    }
    read_document(json, &config);
    if (len < size && json_parse(text + len + 1, strlen(text + len + 1), &patch, NULL) == 0) {
        AUTO_JSON *merged = json_merged(json, patch);
        read_document(merged, &changed);
    }
    return 0;
}
