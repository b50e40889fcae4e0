/*
 * The files of a VM's console, in its runtime directory: FIFOs towards the VMM (see host/vmm/vmm.h) and a bounded
 * log.
 *
 * The log `console.log` keeps absolute positions: it only ever grows in length, and what is older than the
 * bound is given back with FALLOC_FL_PUNCH_HOLE, so a reader can go on from where it was. Where the file
 * system cannot punch holes (or the file has its largest size), the file is emptied instead and positions
 * begin again: a reader sees that by an end that lies before its position. Mode 0644 inside a directory of
 * mode 0700: a descriptor of it can be handed to the API process, which may watch it but not find it. Any
 * thread, one writer per VM. Error: SYSTEM.
 */
#ifndef SMARTVM_HOST_VMM_CONSOLE_H
#define SMARTVM_HOST_VMM_CONSOLE_H

#include "core/error.h"

#include <stdint.h>

/* Makes the FIFOs console.in, console.out, vmm.out below dir; those that are there stay. */
int console_make_fifos(const char *dir, struct error *err);

/* The VMM's ends (O_RDWR, so that neither side ever sees an end of file; out and vmm.out O_NONBLOCK). Owned
 * by the caller. */
int console_open_vmm_ends(const char *dir, int *ret_in, int *ret_out, int *ret_vmm, struct error *err);

/* The daemon's reading ends, O_RDONLY | O_NONBLOCK. Owned by the caller. */
int console_open_readers(const char *dir, int *ret_out, int *ret_vmm, struct error *err);

/* For input, O_WRONLY | O_NONBLOCK. sys_errno ENXIO when no VMM holds it open. */
int console_open_input(const char *dir, int *ret, struct error *err);

/* A log ("console.log", "vmm.log"), for appending (made when missing) and for reading. */
int console_log_open(const char *dir, const char *name, int *ret, struct error *err);
int console_log_open_read(const char *dir, const char *name, int *ret, struct error *err);

/* Appends and keeps the newest max_bytes (rounded up to a page). *ret_end is the position after the last
 * byte. */
int console_log_append(int fd, const void *bytes, size_t len, uint64_t max_bytes, uint64_t *ret_end, struct error *err);

/* Where the kept part begins: the first position that was not punched (SEEK_DATA), given the bound. */
int console_log_begin(int fd, uint64_t max_bytes, uint64_t *ret_begin, uint64_t *ret_end, struct error *err);

#endif
