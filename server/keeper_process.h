/*
 * The keeper process (server/child.h, keeper/keeper.h): it gives up every privilege before it opens the database. server/ may not use keeper/, so
 * main.c puts the two together.
 */
#ifndef SMARTVM_SERVER_KEEPER_PROCESS_H
#define SMARTVM_SERVER_KEEPER_PROCESS_H

#include "core/error.h"
#include "db/db.h"

#define KEEPER_PROCESS_FLAG "--keeper-process"

/* In the worker: starts one; `socket` is its end of frame_pair(). With `check` it looks through the whole database. A pidfd, or -1. */
int keeper_process_start(int socket, int config_fd, bool check, struct error *err);

/*
 * In the new process: gives up its privileges, makes the database ready and opens it, gives up its system calls, and tells the worker. *ret_socket is the
 * one to the worker.
 */
int keeper_process_open(int argc, char **argv, struct db **ret, int *ret_socket, struct error *err);

#endif
