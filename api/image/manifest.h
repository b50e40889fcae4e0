/*
 * Inside api/ only: image manifests as clients write them. Checked against components/schemas/Manifest after
 * the camelCase spellings were mapped to snake_case; host paths are checked as text here, and as files by the
 * worker.
 */
#ifndef SMARTVM_API_IMAGE_MANIFEST_H
#define SMARTVM_API_IMAGE_MANIFEST_H

#include "api/spec/spec.h"
#include "core/config.h"

struct manifest_faults {
    struct spec_faults faults; /* pointers into the manifest, "/kernel/path" */
    bool only_paths;           /* every one of them is a path that is not allowed: PATH_NOT_ALLOWED */
};

/*
 * `base` is the directory that the manifest lies in: its relative paths begin there, and are absolute in *ret. NULL for one that lies nowhere: then
 * they are faults.
 */
/* A new reference: the manifest in snake_case, with its defaults; NULL when there are faults. -1: out of
 * memory. */
int manifest_check(const struct spec *spec, const struct config *config, const json_t *manifest, const char *base, json_t **ret, struct manifest_faults *faults,
                   struct error *err);

/*
 * False for an absolute path without ".." that lies, as text, below an allowed root; else `buf` says what is wrong with it, and which roots are allowed.
 */
enum { MANIFEST_FAULT_MAX = 240 };
bool manifest_path_fault(const struct config *config, const char *path, char buf[MANIFEST_FAULT_MAX]);

#endif
