/*
 * Inside api/ only: what a new VM's interfaces get, each unique in the database: an address of the subnet, a
 * name for the TAP, and a MAC that follows from the VM and the interface, so that a VM made again under its
 * old id looks the same to its guest.
 */
#ifndef SMARTVM_API_VM_NETWORK_H
#define SMARTVM_API_VM_NETWORK_H

#include "api/call.h"
#include "db/vms.h"

/* Fills in the interfaces of *row, whose iface_ids are set. Inside the transaction that inserts it.
 * IP_EXHAUSTED. */
int vm_network_allocate(struct api *api, struct vm_row *row, struct error *err);

#endif
