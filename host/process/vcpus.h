/*
 * Does a guest still do anything? Its VMM's vCPU threads say so: the kernel counts each time that one goes to sleep or is put aside. One that
 * is halted for good (interrupts off, or nobody left who sends any) sleeps, and its count stands still; a Linux that lives wakes several times
 * a second. Any thread.
 */
#ifndef SMARTVM_HOST_VCPUS_H
#define SMARTVM_HOST_VCPUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * `name` is how the names of the vCPU threads begin. True when there are some and all of them sleep; *ret_switches is the sum of their context
 * switches then. False too when /proc can't tell, so that nobody is taken for dead for want of an answer.
 */
bool vcpus_sleep(pid_t pid, const char *name, uint64_t *ret_switches);

#endif
