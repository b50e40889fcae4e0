#include "server/keeper_process.h"

#include "core/cleanup.h"
#include "core/config.h"
#include "core/coverage.h"
#include "core/fault.h"
#include "core/frame.h"
#include "core/log.h"
#include "server/child.h"
#include "server/privileges.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static const char check_word[] = "check";

int keeper_process_start(int socket, int config_fd, bool check, struct error *err)
{
    const int fds[] = {socket, config_fd};
    return child_start(KEEPER_PROCESS_FLAG, check ? check_word : "", fds, ARRAY_LEN(fds), err);
}

/* What was found wrong: nobody but who has our uid, or a disk, can have done it. */
static void tell_mended(const struct db_mended *mended)
{
    char files[24];
    char objects[24];
    char lost[24];
    if (mended->foreign_files == 0 && mended->foreign_objects == 0 && !mended->is_new) {
        return;
    }
    (void)snprintf(files, sizeof files, "%u", mended->foreign_files);
    (void)snprintf(objects, sizeof objects, "%u", mended->foreign_objects);
    (void)snprintf(lost, sizeof lost, "%u", mended->lost);
    log_event(LOG_ERROR, "database.mended", "foreign_files", files, "foreign_objects", objects, "begun_anew", mended->is_new ? "true" : "false", "lost", lost,
              NULL);
}

static int open_database(const struct config *config, bool check, struct db **ret, bool *ret_new, struct error *err)
{
    char path[300];
    struct db_mended mended;
    (void)snprintf(path, sizeof path, "%s/db/smartvm.db", config->state_dir);
    if (db_make_ready(path, check, &mended, err) != 0) {
        return -1;
    }
    tell_mended(&mended);
    *ret_new = mended.is_new;
    return db_open(path, DB_KEEPER, ret, err);
}

static int open_all(const struct config *config, pid_t parent, bool check, struct db **ret, struct error *err)
{
    char path[300];
    const struct record_bytes nothing = {.data = NULL};
    bool is_new = false;
    if (drop_privileges(config->user, parent, err) != 0) {
        return -1;
    }
    log_set_level(config->log.level);
    (void)snprintf(path, sizeof path, "%s/fault", config->run_dir);
    fault_init("keeper", path);
    if (open_database(config, check, ret, &is_new, err) != 0 || drop_system_calls(SYSTEM_CALLS_OF_KEEPER, err) != 0) {
        return -1;
    }
    return frame_send(CHILD_FD_WORKER, FRAME_HELLO, is_new ? 1 : 0, &nothing, -1, err);
}

int keeper_process_open(int argc, char **argv, struct db **ret, int *ret_socket, struct error *err)
{
    pid_t parent = 0;
    const char *word = NULL;
    struct config *config = NULL;
    log_set_role("keeper");
    coverage_of_api();
    (void)mallopt(M_ARENA_MAX, 1);
    if (!child_arguments(argc, argv, &parent, &word)) {
        return error_set(err, ERR_BAD_REQUEST, "the arguments are not those of the keeper");
    }
    if (child_read_config(&config, err) != 0) {
        return -1;
    }
    (void)fcntl(CHILD_FD_WORKER, F_SETFD, FD_CLOEXEC);
    int result = open_all(config, parent, strcmp(word, check_word) == 0, ret, err);
    config_free(config);
    *ret_socket = CHILD_FD_WORKER;
    return result;
}
