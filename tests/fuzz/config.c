/* A configuration file, from its bytes to the typed values. */
#include "core/cleanup.h"
#include "core/json.h"
#include "server/config.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_JSON *document = NULL;
    struct config *config = NULL;
    if (yaml_parse((const char *)data, size, &document, NULL) == 0) {
        AUTO_FREE char *text = json_text(document);
        if (text != NULL && config_from_json(text, strlen(text), &config, NULL) == 0) {
            config_free(config);
        }
    }
    return 0;
}
