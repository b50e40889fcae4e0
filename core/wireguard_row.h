/* The WireGuard egress that is wanted, as it is stored. */
#ifndef SMARTVM_CORE_WIREGUARD_ROW_H
#define SMARTVM_CORE_WIREGUARD_ROW_H

#include "core/record.h"

#include <jansson.h>

struct wireguard_row {
    int64_t generation; /* of the last change; 0: there never was one */
    bool wanted;        /* false: none, or it was deleted; then there are no secrets */
    char *document;     /* wireguard_json() of the one that is wanted, or was last; NULL: there never was one */
    char *public_key;   /* of the managed one; NULL for an existing one */
    unsigned warnings;  /* a bit for each enum wireguard_warning */
    uint8_t *sealed;    /* wireguard_secrets_json(), sealed for the worker (core/seal.h); NULL for an existing one */
    size_t sealed_bytes;
    int64_t updated_ms;
};

void wireguard_row_free(struct wireguard_row *row); /* harmless on zeroes */
#define AUTO_WIREGUARD_ROW __attribute__((cleanup(wireguard_row_free))) struct wireguard_row

/* The document of a row that is wanted, parsed; a new reference. ROW_DAMAGED where there is none, which the table of fields alone can't tell. */
int wireguard_row_document(const struct wireguard_row *row, json_t **ret, struct error *err);

extern const struct record_table wireguard_row_record;

#endif
