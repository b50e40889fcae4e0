/* Finding processes by their command lines. A command line is what its owner says it is: check it before you
 * believe it. */
#include "host/process/process.h"

#include "core/cleanup.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { READ_BYTES = 4096 };

/* Adds the whole command line; false with errno set when the process is gone. */
static bool read_cmdline(int proc_fd, const char *pid, struct strbuf *b)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s/cmdline", pid);
    AUTO_CLOSE int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    char bytes[READ_BYTES];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0) {
        strbuf_add_bytes(b, bytes, (size_t)n);
    }
    return n == 0;
}

int process_cmdline(pid_t pid, char **ret, size_t *ret_len, struct error *err)
{
    char pid_text[16];
    (void)snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
    AUTO_STRBUF line = STRBUF_INIT;
    AUTO_CLOSE int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc_fd < 0 || !read_cmdline(proc_fd, pid_text, &line)) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the command line of process %d", (int)pid);
    }
    size_t len = line.len;
    char *text = strbuf_take(&line);
    if (text == NULL) {
        return error_oom(err);
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

static bool begins_with_any(const char *text, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (strncmp(text, *prefixes, strlen(*prefixes)) == 0) {
            return true;
        }
    }
    return false;
}

static const char *find_argument(const struct strbuf *line, const char *const *prefixes)
{
    for (size_t at = 0; at < line->len; at += strlen(line->data + at) + 1) {
        if (begins_with_any(line->data + at, prefixes)) {
            return line->data + at;
        }
    }
    return NULL;
}

static bool is_pid(const char *name)
{
    return name[0] != '\0' && strspn(name, "0123456789") == strlen(name) && strlen(name) <= 10;
}

int process_find(const char *const *prefixes, void (*found)(pid_t pid, const char *argument, void *ctx), void *ctx, struct error *err)
{
    AUTO_CLOSEDIR DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot list /proc");
    }
    AUTO_STRBUF line = STRBUF_INIT;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(proc);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list /proc");
        }
        strbuf_reset(&line);
        if (!is_pid(entry->d_name) || !read_cmdline(dirfd(proc), entry->d_name, &line)) {
            continue;
        }
        if (line.failed) {
            return error_oom(err);
        }
        const char *argument = find_argument(&line, prefixes);
        if (argument != NULL) {
            found((pid_t)strtol(entry->d_name, NULL, 10), argument, ctx);
        }
    }
}

int process_find_uids(uid_t first, uint32_t count, void (*found)(pid_t pid, uid_t uid, void *ctx), void *ctx, struct error *err)
{
    AUTO_CLOSEDIR DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot list /proc");
    }
    for (;;) {
        struct process_ids ids;
        errno = 0;
        const struct dirent *entry = readdir(proc);
        if (entry == NULL) {
            return errno == 0 ? 0 : error_sys(err, ERR_SYSTEM, errno, "cannot list /proc");
        }
        if (!is_pid(entry->d_name)) {
            continue;
        }
        const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (process_ids(pid, &ids, NULL) == 0 && ids.real >= first && ids.real - first < count) {
            found(pid, ids.real, ctx);
        }
    }
}
