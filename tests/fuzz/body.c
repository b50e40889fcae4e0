/* A request body through the JSON reader and the validator, against every schema that a body is checked by. */
#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "server/openapi_data.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const schemas[] = {"VmCreate", "VmPatch", "ImageCreate", "Manifest", "StopOptions", "Config"};
    static struct spec *spec;
    AUTO_JSON *body = NULL;
    if (spec == NULL && spec_load(openapi_yaml_begin, openapi_yaml_len, &spec, NULL) != 0) {
        __builtin_trap();
    }
    if (json_parse((const char *)data, size, &body, NULL) != 0) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        struct spec_faults faults = {0};
        (void)spec_check_component(spec, schemas[i], body, "body", &faults);
        spec_faults_free(&faults);
    }
    return 0;
}
