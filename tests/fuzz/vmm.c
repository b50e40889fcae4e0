/* What a VMM says: Firecracker's answers, and the last words on its standard error. */
#include "host/vmm/firecracker.h"
#include "host/vmm/vmm.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    enum vmm_state state;
    char words[100];
    (void)firecracker_parse_instance((const char *)data, size, &state, &err);
    (void)firecracker_fault(400, (const char *)data, size, &err);
    for (size_t i = 0; i < VMM_KIND_COUNT_; i++) {
        vmm_last_words(&vmm_drivers[i], (const char *)data, size, words, sizeof words);
        if (strlen(words) >= sizeof words) {
            abort();
        }
    }
    return 0;
}
