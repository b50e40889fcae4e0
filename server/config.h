/*
 * Reads the configuration: a YAML file, overrides of the command line on top, both checked together against
 * components/x-schemas/Config of openapi.yaml, defaults filled in, and then what a schema cannot say (paths,
 * addresses, names). All faults come at once, one a line.
 */
#ifndef SMARTVM_SERVER_CONFIG_H
#define SMARTVM_SERVER_CONFIG_H

#include "api/spec/spec.h"
#include "core/config.h"
#include "core/error.h"

/*
 * `path`: of the file; NULL: defaults only. `sets`: "key.path=value" each, the value being YAML
 * ("network.bridge=br7", 'listen=["/run/a.sock"]'); an empty value is the empty string. Later ones win.
 * Code INVALID_CONFIG, or INVALID_SUBNET, INVALID_INTERFACE_NAME when that is all that is wrong.
 */
int config_load(const struct spec *spec, const char *path, const char *const *sets, size_t set_count, struct config **ret, struct error *err);

/*
 * The same, of the keys only that say where an instance is: state_dir, run_dir, listen, network.bridge, vmm.stage_dir. The others are
 * not looked at and have their defaults: who takes an instance away need not mend a configuration first.
 */
int config_load_places(const struct spec *spec, const char *path, const char *const *sets, size_t set_count, struct config **ret, struct error *err);

/* The whole configuration as the JSON form of the file, owned by the caller; NULL when out of memory. */
char *config_to_json(const struct config *config);

/* The way back. Checks what config_load() checks after the schema; meant for the text of config_to_json(). */
int config_from_json(const char *text, size_t len, struct config **ret, struct error *err);

/* Typed values out of a document that fits the schema and has its defaults filled in. */
int config_fill(const json_t *document, struct config **ret, struct error *err);

#endif
