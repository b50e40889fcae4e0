/*
 * The inspector: a process (server/child.h) that looks at one file of an image, or unpacks it, and ends (host/store/inspect.h, which server/ may not use, so
 * main.c puts the two together). The libraries that unpack read what anybody may have made, so it has nothing: a uid of its own, no capability, two or three
 * descriptors, no file system (Landlock, where the kernel has it), and of all system calls only those that read and write what is open, and get memory
 * (a seccomp allow list: another call ends it). It can't use more than INSPECTOR_CPU_S of a processor, nor write more than it was told.
 */
#ifndef SMARTVM_SERVER_INSPECTOR_PROCESS_H
#define SMARTVM_SERVER_INSPECTOR_PROCESS_H

#include "core/error.h"

#include <stdint.h>

#define INSPECTOR_PROCESS_FLAG "--inspector-process"

enum { INSPECTOR_CPU_S = 120 };

/* The descriptors of the new process. */
enum { INSPECTOR_FD_ANSWER = 3, INSPECTOR_FD_IN = 4, INSPECTOR_FD_OUT = 5 };

/* In the worker: starts one. `out` may be -1; the descriptors stay the caller's. A pidfd, or -1. */
int inspector_process_start(const char *word, int answer, int in, int out, struct error *err);

/* In the new process: gives up its privileges; *ret_word is what it is to do. */
int inspector_process_open(int argc, char **argv, const char **ret_word, struct error *err);

/* The rest, once it knows how much it may write. After this it has what it has. */
int inspector_process_close(uint64_t max_bytes, struct error *err);

#endif
