/*
 * Opens the listening sockets of the configuration. Called by the privileged process before it makes the API
 * process, so that the sockets lie in a directory that the API process cannot write.
 *
 * A unix socket belongs to root and to the group of the API user, mode 0660, and is never wider than that,
 * not even for the moment between bind and chmod. TCP is loopback only, as config_load() made sure.
 */
#ifndef SMARTVM_SERVER_LISTEN_H
#define SMARTVM_SERVER_LISTEN_H

#include "core/config.h"
#include "core/error.h"

#include <stdbool.h>

struct listen_socket {
    int fd; /* listening, non-blocking, CLOEXEC */
    bool is_tcp;
};

/*
 * Opens all of config->listen; *ret is an array of config->listen_count, freed by listen_close(). A socket
 * file without a process behind it is replaced; one on which a process listens: CONFLICT; anything else of
 * that name is left alone: SYSTEM. The directory must be there.
 */
int listen_open(const struct config *config, struct listen_socket **ret, struct error *err);

/* Closes those that are still open (fd >= 0) and frees the array; the socket files stay. Harmless on NULL. */
void listen_close(struct listen_socket *sockets, size_t count);

#endif
