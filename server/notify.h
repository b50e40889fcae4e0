/*
 * Tells the service manager about the state of the process: the sd_notify(3) protocol, one datagram of
 * NAME=VALUE lines to the socket of $NOTIFY_SOCKET, which may be abstract ("@..."). Does nothing when there
 * is no such socket.
 */
#ifndef SMARTVM_SERVER_NOTIFY_H
#define SMARTVM_SERVER_NOTIFY_H

#include "core/error.h"

/* "READY=1\nSTATUS=12 VMs", "STOPPING=1". Never waits: a service manager that does not read gives EAGAIN. */
int notify_send(const char *state, struct error *err);

#endif
