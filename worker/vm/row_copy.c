#include "worker/vm/row_copy.h"

#include "core/cleanup.h"
#include "core/names.h"
#include "host/store/store.h"
#include "worker/border/known_vms.h"
#include "worker/border/wanted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { COPY_BYTES_MAX = 1024 * 1024 };

int vm_row_copy_write(const char *dir, const struct vm_row *row, const struct image_row *image, struct error *err)
{
    char path[256];
    char temporary[256];
    struct vm_row vm = *row;
    struct image_row its_image = *image;
    const struct message_vm_restore copy = {.items = &vm, .count = 1, .images = &its_image, .image_count = 1};
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    record_write(message_types[MESSAGE_VM_RESTORE].question, &copy, &bytes);
    (void)snprintf(path, sizeof path, "%s/row", dir);
    (void)snprintf(temporary, sizeof temporary, "%s/row.new", dir);
    if (bytes.failed) {
        return error_oom(err);
    }
    AUTO_CLOSE int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes.data, bytes.len) != (ssize_t)bytes.len || rename(temporary, path) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be written", path);
    }
    return 0;
}

void vm_row_copy_read(struct worker *worker, const char *id, struct message_vm_restore *ret)
{
    char path[300];
    struct stat st;
    const struct record_table *record = message_types[MESSAGE_VM_RESTORE].question;
    (void)snprintf(path, sizeof path, "%s/vm/%s/row", worker->config->run_dir, id);
    memset(ret, 0, sizeof *ret);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > COPY_BYTES_MAX) {
        return;
    }
    AUTO_FREE uint8_t *bytes = malloc((size_t)st.st_size + 1);
    if (bytes == NULL || read(fd, bytes, (size_t)st.st_size) != st.st_size) {
        return;
    }
    if (record_read(record, bytes, (size_t)st.st_size, ret, NULL, NULL, NULL) == 0 &&
        (strcmp(ret->items[0].id, id) != 0 || vm_row_read_config(&ret->items[0], NULL) != 0)) {
        vm_row_copy_free(ret);
    }
}

void vm_row_copy_free(struct message_vm_restore *copy)
{
    for (size_t i = 0; i < copy->count; i++) {
        vm_config_free(&copy->items[i].config);
    }
    record_free(message_types[MESSAGE_VM_RESTORE].question, copy);
}

/* One that is there has its row still, or can't be told apart from one that has. */
static bool is_lost(const struct known_vms *known, const char *id)
{
    bool found = true;
    return known_vms_have(known, id, &found, NULL) == 0 && !found;
}

/* An image whose files are gone is none: somebody took the whole state away, on purpose. */
static bool has_files(const struct worker *worker, const struct message_vm_restore *copy)
{
    char path[400];
    return copy->image_count == 1 && copy->images[0].rootfs_sha256 != NULL &&
           store_path(worker->store_root, copy->images[0].rootfs_sha256, path, sizeof path) && access(path, F_OK) == 0;
}

static void restore(struct worker *worker, const struct known_vms *known, const char *id, bool force)
{
    struct message_vm_restore copy;
    struct error err = {0};
    if (!name_is_vm_id(id) || !is_lost(known, id)) {
        return;
    }
    vm_row_copy_read(worker, id, &copy);
    copy.force = force;
    if (copy.count == 1 && has_files(worker, &copy)) {
        if (border_vm_restore(worker->border, &copy, &err) == 0) {
            log_event(LOG_WARN, "vm.restored", "vm", id, NULL);
        } else {
            log_event(LOG_WARN, "vm.not_restored", "vm", id, "code", error_code_name(err.code), "message", err.message, NULL);
        }
    }
    vm_row_copy_free(&copy);
}

int vm_rows_restore(struct worker *worker, bool force, struct error *err)
{
    struct known_vms known;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/vm", worker->config->run_dir);
    AUTO_CLOSEDIR DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : error_sys(err, ERR_SYSTEM, errno, "%s could not be read", path);
    }
    if (known_vms_load(worker->border, &known, err) != 0) {
        return -1;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        restore(worker, &known, entry->d_name, force);
    }
    known_vms_free(&known);
    return 0;
}
