/*
 * The one table of what answers each operation of openapi.yaml: X(operationId, function, check or NULL). What
 * they are given has been checked against the document. A test, and the start of the daemon, hold it against
 * the document in both directions.
 */
#ifndef SMARTVM_API_HANDLERS_H
#define SMARTVM_API_HANDLERS_H

#include "api/call.h"

#define API_HANDLERS(X) \
    X(getHealth, service_health, NULL) \
    X(getReadiness, service_readiness, NULL) \
    X(getVersion, service_version, NULL) \
    X(getOpenapiYaml, service_openapi_yaml, NULL) \
    X(getOpenapiJson, service_openapi_json, NULL) \
    X(getHost, service_host, NULL) \
    X(streamEvents, events_stream, events_check) \
    X(listImages, images_handle_list, NULL) \
    X(createImage, images_handle_create, images_check_create) \
    X(getImage, images_handle_get, NULL) \
    X(deleteImage, images_handle_delete, NULL) \
    X(listVms, vms_handle_list, vms_check_list) \
    X(createVm, vm_handle_create, vm_check_create) \
    X(getVm, vms_handle_get, NULL) \
    X(patchVm, vm_handle_patch, vm_check_patch) \
    X(deleteVm, vms_handle_delete, NULL) \
    X(startVm, vm_handle_action, NULL) \
    X(stopVm, vm_handle_action, NULL) \
    X(killVm, vm_handle_action, NULL) \
    X(pauseVm, vm_handle_action, NULL) \
    X(resumeVm, vm_handle_action, NULL) \
    X(rebootVm, vm_handle_action, NULL) \
    X(getConsole, console_handle_get, NULL) \
    X(writeConsole, console_handle_write, NULL) \
    X(getVmNetwork, vm_network_handle_get, NULL) \
    X(getDrift, drift_handle_get, NULL) \
    X(repairDrift, drift_handle_repair, NULL) \
    X(getRepair, drift_handle_get_repair, NULL) \
    X(getFirewall, firewall_handle_get, NULL) \
    X(putFirewall, firewall_handle_write, firewall_check_body) \
    X(patchFirewall, firewall_handle_write, firewall_check_body) \
    X(getVmFirewall, firewall_handle_get, NULL) \
    X(putVmFirewall, firewall_handle_write, firewall_check_body) \
    X(patchVmFirewall, firewall_handle_write, firewall_check_body) \
    X(deleteVmFirewall, firewall_handle_delete, NULL) \
    X(listAddressSets, firewall_handle_list_sets, NULL) \
    X(getAddressSet, firewall_handle_get_set, NULL) \
    X(putAddressSet, firewall_handle_put_set, firewall_check_set) \
    X(deleteAddressSet, firewall_handle_delete_set, NULL) \
    X(confirmFirewall, firewall_handle_confirm, NULL) \
    X(traceFirewall, firewall_handle_trace, firewall_check_trace) \
    X(getNetwork, network_handle_get, NULL) \
    X(patchNetwork, network_handle_patch, network_check_patch) \
    X(listLeases, network_handle_leases, network_check_leases) \
    X(getWireguard, wireguard_handle_get, NULL) \
    X(putWireguard, wireguard_handle_put, wireguard_check_put) \
    X(deleteWireguard, wireguard_handle_delete, NULL)

#define X(operation, run, check) int run(struct call *call, struct api_reply *reply, struct error *err);
API_HANDLERS(X)
#undef X

void images_check_create(struct call *call);
void vms_check_list(struct call *call);
void events_check(struct call *call);
void vm_check_create(struct call *call);
void vm_check_patch(struct call *call);
void firewall_check_body(struct call *call);
void firewall_check_set(struct call *call);
void firewall_check_trace(struct call *call);
void network_check_patch(struct call *call);
void network_check_leases(struct call *call);
void wireguard_check_put(struct call *call);

#endif
