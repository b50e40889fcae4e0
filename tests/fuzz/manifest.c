/* An image's manifest, snake_case or camelCase, from its bytes to the checked form. */
#include "api/image/manifest.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "server/openapi_data.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char root[] = "/srv/img";
    static char *roots[] = {root};
    static const struct config config = {.images = {.allowed_roots = roots, .allowed_root_count = 1}};
    static struct spec *spec;
    AUTO_JSON *manifest = NULL;
    AUTO_JSON *checked = NULL;
    struct manifest_faults faults = {.only_paths = false};
    if (spec == NULL && spec_load(openapi_yaml_begin, openapi_yaml_len, &spec, NULL) != 0) {
        abort();
    }
    if (json_parse((const char *)data, size, &manifest, NULL) == 0) {
        (void)manifest_check(spec, &config, manifest, size % 2 == 0 ? "/srv/img/a" : NULL, &checked, &faults, NULL);
        spec_faults_free(&faults.faults);
    }
    return 0;
}
