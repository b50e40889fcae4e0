#include "api/answer_store.h"

#include <string.h>

/* NULL of NULL. */
static char *copy_of(const char *text, bool *failed)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    *failed = *failed || (text != NULL && copy == NULL);
    return copy;
}

int answer_store(struct api *api, const struct origin *origin, const struct answer *answer, struct error *err)
{
    bool failed = false;
    if (origin->idempotency_key[0] == '\0') {
        return 0;
    }
    struct idempotency_row row = {.fingerprint = copy_of(origin->fingerprint, &failed),
                                  .status = answer->status,
                                  .location = copy_of(answer->location, &failed),
                                  .etag = copy_of(answer->etag, &failed),
                                  .body = copy_of(answer->body, &failed),
                                  .pending = answer->pending};
    row.pending.path = copy_of(answer->pending.path, &failed);
    row.pending.id = copy_of(answer->pending.id, &failed);
    int result = failed ? error_oom(err) : idempotency_put(api->db, origin->idempotency_key, &row, err);
    idempotency_row_free(&row);
    return result;
}
