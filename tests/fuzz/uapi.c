/* What a userspace WireGuard answers to "get=1", and the difference to a device that is wanted otherwise. */
#include "core/cleanup.h"
#include "host/tunnel/wireguard_backends.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_change(const struct wireguard_device *seen, const struct wireguard_device *wanted, bool is_same)
{
    AUTO_WIREGUARD_CHANGE change = {.wanted = NULL};
    AUTO_STRBUF request = STRBUF_INIT;
    char words[160];
    if (wireguard_diff(seen, wanted, &change, NULL) != 0 || (is_same && !wireguard_change_is_empty(&change))) {
        abort();
    }
    wireguard_change_describe(&change, words, sizeof words);
    wireguard_uapi_request(&change, &request);
}

/* A real one names no peer twice. */
static bool has_doubles(const struct wireguard_device *device)
{
    for (size_t i = 1; i < device->peer_count; i++) {
        if (wireguard_key_equal(&device->peers[i - 1].public_key, &device->peers[i].public_key)) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    AUTO_WIREGUARD_DEVICE none = {.peers = NULL};
    AUTO_FREE char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (wireguard_uapi_parse(text, &device, NULL) == 0) {
        wireguard_device_sort(&device);
        check_change(&device, &device, !has_doubles(&device));
        check_change(&none, &device, false);
        check_change(&device, &none, false);
    }
    return 0;
}
