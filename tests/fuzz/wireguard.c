/* The text of wg-quick(8), and what is accepted of it stored and loaded again. */
#include "core/json.h"
#include "core/wireguard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void store_and_load(struct wireguard *config)
{
    struct error err;
    AUTO_WIREGUARD again = {.managed = false};
    config->managed = true;
    config->route_table = 1;
    memcpy(config->interface_name, "wg0", sizeof "wg0");
    AUTO_JSON *json = wireguard_json(config);
    AUTO_JSON *secrets = wireguard_secrets_json(config);
    if (json == NULL || secrets == NULL || wireguard_load(json, secrets, &again, &err) != 0) {
        abort();
    }
    AUTO_JSON *json_again = wireguard_json(&again);
    AUTO_JSON *secrets_again = wireguard_secrets_json(&again);
    if (!json_equal(json, json_again) || !json_equal(secrets, secrets_again)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        struct wireguard_faults faults;
        AUTO_WIREGUARD config = {.managed = false};
        if (wireguard_parse_text(text, ipv6 != 0, &config, &faults, &err) == 0) {
            store_and_load(&config);
        } else if (faults.count == 0) {
            abort();
        }
    }
    free(text);
    return 0;
}
