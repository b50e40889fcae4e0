#include "worker/seal_key.h"

#include "core/cleanup.h"
#include "core/wireguard_key.h"
#include "worker/border/wanted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* *ret_found false: there is none yet. */
static int read_key(int dir, uint8_t ret[SEAL_KEY_BYTES], bool *ret_found, struct error *err)
{
    struct stat st;
    AUTO_CLOSE int fd = openat(dir, "seal.key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *ret_found = fd >= 0;
    if (fd < 0) {
        return errno == ENOENT ? 0 : error_sys(err, ERR_SYSTEM, errno, "the key of the secrets, seal.key, could not be opened");
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return error_set(err, ERR_SYSTEM, "seal.key in the state directory is not a file that only root may read: give it mode 0600");
    }
    if (read(fd, ret, SEAL_KEY_BYTES) != SEAL_KEY_BYTES || st.st_size != SEAL_KEY_BYTES) {
        return error_set(err, ERR_SYSTEM, "seal.key in the state directory is damaged: restore it, or delete it, and PUT what has secrets again");
    }
    return 0;
}

/* Whole or not at all, also when the power fails. */
static int write_key(int dir, const uint8_t key[SEAL_KEY_BYTES], struct error *err)
{
    AUTO_CLOSE int fd = openat(dir, "seal.key.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) != 0 || write(fd, key, SEAL_KEY_BYTES) != SEAL_KEY_BYTES || fsync(fd) != 0 ||
        renameat(dir, "seal.key.new", dir, "seal.key") != 0 || fsync(dir) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the key of the secrets, seal.key, could not be written");
    }
    return 0;
}

static int publish(const uint8_t private_key[SEAL_KEY_BYTES], struct border *border, struct error *err)
{
    struct wireguard_key key;
    char base64[WIREGUARD_KEY_TEXT_MAX];
    char text[WIREGUARD_KEY_TEXT_MAX + 2];
    _Static_assert((int)SEAL_KEY_BYTES == (int)WIREGUARD_KEY_BYTES, "both are Curve25519");
    if (seal_public_key(private_key, key.bytes, err) != 0) {
        return -1;
    }
    (void)snprintf(text, sizeof text, "\"%s\"", wireguard_key_format(&key, base64));
    return border_fact_set(border, FACT_SEAL_KEY, text, NULL, err);
}

int seal_key_load(const char *state_dir, struct border *border, uint8_t ret[SEAL_KEY_BYTES], struct error *err)
{
    bool found = false;
    AUTO_CLOSE int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "%s could not be opened", state_dir);
    }
    if (read_key(dir, ret, &found, err) != 0) {
        return -1;
    }
    if (!found && (seal_make_private_key(ret, err) != 0 || write_key(dir, ret, err) != 0)) {
        return -1;
    }
    return publish(ret, border, err);
}
