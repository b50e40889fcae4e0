/*
 * Firecracker: HTTP over its unix socket. It boots from a configuration file without a single round trip, and
 * its API stays open. The first group is the row in vmm_drivers[] (see host/vmm/vmm.h); the second is pure and
 * exposed for tests.
 */
#ifndef SMARTVM_HOST_VMM_FIRECRACKER_H
#define SMARTVM_HOST_VMM_FIRECRACKER_H

#include "core/device.h"
#include "host/vmm/vmm.h"

#include <jansson.h>
#include <sys/types.h>

extern const char *const firecracker_noise[];
extern const char *const firecracker_lead_ins[];
int firecracker_prepare(const struct vmm_spec *spec, struct error *err);
int firecracker_jail(const struct vmm_spec *spec, struct jail *ret, struct error *err);
int firecracker_command(const struct vmm_spec *spec, char ***ret_argv, struct error *err);
int firecracker_query(const struct vmm_peer *peer, int timeout_ms, enum vmm_state *ret, struct error *err);
int firecracker_pause(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int firecracker_resume(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int firecracker_shutdown(const struct vmm_peer *peer, int timeout_ms, struct error *err);
int firecracker_version(const char *binary, char *ret, size_t size, struct error *err);
int firecracker_jailer_version(const char *jailer, char *ret, size_t size, struct error *err); /* as version() of the driver */
int firecracker_caught_signal(int exit_status);                                                /* pure */

/*
 * By the names of its threads: fc_api and fc_vcpu N. Firecracker (seen in 1.12.1) hangs for ever when its guest ends while a request is under
 * way: its main thread waits for that of the API, which waits for an answer of the main thread. So no request is sent before there are vCPUs,
 * and a call whose answer fails to come looks here.
 */
enum vmm_guest firecracker_guest(pid_t pid, pid_t *ret_vcpu);

/* What writes a device's section: a new reference, NULL when memory is short or a text is not UTF-8. NULL: the device has no section. */
extern json_t *(*const firecracker_sections[DEVICE_COUNT_])(const struct vmm_spec *spec);

/* The configuration file's text: the sections in the order of the devices; *ret owned by the caller (free). */
int firecracker_config(const struct vmm_spec *spec, char **ret, struct error *err);

/* The answer to GET /: {"id", "state", "vmm_version", "app_name"}. */
int firecracker_parse_instance(const char *body, size_t len, enum vmm_state *ret, struct error *err);

/* Why it refused: `fault_message` of its reply, else the status. Fills *err, returns -1. */
int firecracker_fault(long status, const char *body, size_t len, struct error *err);

#endif
