/*
 * What wireguard-go says. Its standard output and error are a memory file of a fixed size: a pipe would stop it when nobody reads, or kill it when the
 * reader is gone, and a file would grow. Writing behind the end fails, which it does not mind.
 */
#include "core/cleanup.h"
#include "host/tunnel/wireguard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY_NAME "wireguard-go"

enum { WORDS_BYTES = 64 * 1024, KEY_CHARACTERS = 40 /* one has 43 in base64, 64 in base 16 */ };

int wireguard_words_make(int *ret_fd, struct error *err)
{
    AUTO_CLOSE int fd = memfd_create(MEMORY_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, WORDS_BYTES) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        return error_sys(err, ERR_WIREGUARD_SETUP_FAILED, errno, "there is no memory for what wireguard-go says");
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int wireguard_words_of(int pidfd)
{
    char path[64];
    char line[128];
    char target[64] = "";
    int pid = 0;
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *info = fopen(path, "re");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "Pid:", 4) == 0) {
            pid = (int)strtol(line + 4, NULL, 10);
        }
    }
    if (info != NULL) {
        (void)fclose(info);
    }
    (void)snprintf(path, sizeof path, "/proc/%d/fd/2", pid);
    if (pid <= 0 || readlink(path, target, sizeof target - 1) < 0 || strncmp(target, "/memfd:" MEMORY_NAME, strlen("/memfd:" MEMORY_NAME)) != 0) {
        return -1;
    }
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

void wireguard_words_make_room(int fd)
{
    static const char zeroes[WORDS_BYTES];
    if (lseek(fd, 0, SEEK_CUR) > WORDS_BYTES / 2 && pwrite(fd, zeroes, sizeof zeroes, 0) == (ssize_t)sizeof zeroes) {
        (void)lseek(fd, 0, SEEK_SET);
    }
}

enum rank { RANK_NOTHING, RANK_PLAIN, RANK_ERROR, RANK_PANIC };

static bool begins(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static enum rank rank_of(const char *line, size_t len)
{
    if (begins(line, len, "panic: ") || begins(line, len, "fatal error: ") || begins(line, len, "SIG")) {
        return RANK_PANIC;
    }
    if (begins(line, len, "ERROR: ")) {
        return RANK_ERROR;
    }
    /* Not the stack behind a panic, nor the box in which it advises to use the kernel's WireGuard. */
    return len > 0 && line[0] > ' ' && line[0] <= '~' && !begins(line, len, "goroutine ") ? RANK_PLAIN : RANK_NOTHING;
}

/* "ERROR: (svwg0) 2026/11/28 20:49:40 what happened" */
static void skip_lead_in(const char **line, size_t *len)
{
    unsigned blanks = begins(*line, *len, "ERROR: (") ? 4 : 0;
    for (; blanks > 0 && *len > 0; (*line)++, (*len)--) {
        blanks -= **line == ' ';
    }
}

static bool is_of_key(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/' || c == '=';
}

static void copy_without_keys(const char *line, size_t len, char *ret, size_t size)
{
    static const char hidden[] = "(hidden)";
    size_t used = 0;
    for (size_t i = 0; i < len && used + sizeof hidden < size;) {
        size_t run = 0;
        while (i + run < len && is_of_key(line[i + run])) {
            run++;
        }
        if (run >= KEY_CHARACTERS) {
            memcpy(ret + used, hidden, sizeof hidden - 1);
            used += sizeof hidden - 1;
            i += run;
            continue;
        }
        run = run > 0 ? run : 1;
        for (size_t end = i + run; i < end && used + sizeof hidden < size; i++) {
            ret[used++] = (char)(line[i] >= ' ' && line[i] <= '~' ? line[i] : '?');
        }
    }
    ret[used] = '\0';
}

void wireguard_words_pick(const char *text, size_t len, char *ret, size_t size)
{
    const char *best = text;
    size_t best_len = 0;
    enum rank best_rank = RANK_PLAIN;
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end != NULL ? (size_t)(end - text) : len;
        enum rank rank = rank_of(text, line_len);
        if (rank >= best_rank) {
            best = text;
            best_len = line_len;
            best_rank = rank;
        }
        size_t step = end != NULL ? line_len + 1 : len;
        text += step;
        len -= step;
    }
    skip_lead_in(&best, &best_len);
    copy_without_keys(best, best_len, ret, size);
}

void wireguard_words_last(int fd, char *ret, size_t size)
{
    char *text = fd >= 0 ? malloc(WORDS_BYTES) : NULL;
    ret[0] = '\0';
    if (text == NULL) {
        return;
    }
    ssize_t n = pread(fd, text, WORDS_BYTES, 0);
    if (n > 0) {
        wireguard_words_pick(text, strnlen(text, (size_t)n), ret, size);
    }
    free(text);
}
