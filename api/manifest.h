/*
 * Inside api/ only: image manifests as clients write them. Checked against components/schemas/Manifest after
 * the camelCase spellings were mapped to snake_case; host paths are checked as text here, and as files by the
 * worker.
 */
#ifndef SMARTVM_API_MANIFEST_H
#define SMARTVM_API_MANIFEST_H

#include "api/spec.h"
#include "core/config.h"

struct manifest_faults {
    struct spec_faults faults; /* pointers into the manifest, "/kernel/path" */
    bool only_paths;           /* every one of them is a path that is not allowed: PATH_NOT_ALLOWED */
};

/* A new reference: the manifest in snake_case, with its defaults; NULL when there are faults. -1: out of
 * memory. */
int manifest_check(const struct spec *spec, const struct config *config, const json_t *manifest, json_t **ret,
                   struct manifest_faults *faults, struct error *err);

/*
 * NULL for an absolute path without ".." that lies, as text, below an allowed root; else what is wrong with
 * it ("must be absolute").
 */
const char *manifest_path_fault(const struct config *config, const char *path);

#endif
