/* Is the range of uids free of accounts? By the host's own files: what a directory service knows beyond them is for its administrator to keep apart. */
#include "core/cleanup.h"
#include "worker/vm/uids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The n-th field of a line of `:`, as a number. */
static bool number_of(const char *line, unsigned field, uint64_t *ret)
{
    const char *at = line;
    for (unsigned i = 0; i < field; i++) {
        at = strchr(at, ':');
        if (at == NULL) {
            return false;
        }
        at++;
    }
    return sscanf(at, "%" SCNu64, ret) == 1;
}

static const struct account_file {
    const char *name;
    unsigned first, count; /* their fields; 0: one number */
} files[] = {{"passwd", 2, 0}, {"group", 2, 0}, {"subuid", 1, 2}, {"subgid", 1, 2}};

static void check_line(const struct account_file *file, const char *line, uint64_t first, uint64_t count, char ret_words[UIDS_WORDS_MAX])
{
    uint64_t begin = 0;
    uint64_t length = 1;
    if (!number_of(line, file->first, &begin) || (file->count > 0 && !number_of(line, file->count, &length)) || length == 0 || length > UINT32_MAX ||
        begin > UINT32_MAX) {
        return;
    }
    if (begin < first + count && first < begin + length) {
        const size_t len = strcspn(line, ":");
        (void)snprintf(ret_words, UIDS_WORDS_MAX, "'%.*s' has %" PRIu64 " to %" PRIu64 " in %s", len < 64 ? (int)len : 64, line, begin, begin + length - 1,
                       file->name);
    }
}

int uids_check_range(const char *etc, uid_t first, uint32_t count, char ret_words[UIDS_WORDS_MAX], struct error *err)
{
    ret_words[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(files) && ret_words[0] == '\0'; i++) {
        char path[128];
        AUTO_FREE char *line = NULL;
        size_t size = 0;
        (void)snprintf(path, sizeof path, "%s/%s", etc, files[i].name);
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        if (file == NULL && errno != ENOENT) {
            return error_sys(err, ERR_SYSTEM, errno, "%s could not be read", path);
        }
        while (file != NULL && ret_words[0] == '\0' && getline(&line, &size, file) > 0) {
            check_line(&files[i], line, first, count, ret_words);
        }
    }
    return 0;
}
