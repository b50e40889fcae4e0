/*
 * Frames over a stream socket between two processes of the daemon: a head of eight bytes (length of what follows, kind, status) and a record
 * (core/record.h). A frame is sent and received whole, before a deadline (clock_monotonic_ms()), or the connection is of no use any more: whoever
 * gets an error closes it. The two take turns: what comes behind a frame before it was answered is an error. Errors: UNAVAILABLE with sys_errno EPIPE when the other end is gone, TIMEOUT when it is too slow, PAYLOAD_TOO_LARGE
 * for more than FRAME_MAX bytes, SYSTEM.
 */
#ifndef SMARTVM_CORE_FRAME_H
#define SMARTVM_CORE_FRAME_H

#include "core/record.h"

enum {
    FRAME_MAX = 64 * 1024 * 1024,
    FRAME_HELLO = 0xffff, /* a kind: "I am ready"; status 1: with a new file, so who has the old one open must open it anew */
};

struct frame {
    uint16_t kind;
    uint16_t status;
    uint8_t *data; /* owned */
    size_t len;
};
void frame_free(struct frame *frame); /* harmless on zeroes */
#define AUTO_FRAME __attribute__((cleanup(frame_free))) struct frame

/* Two connected sockets, not blocking, CLOEXEC. */
int frame_pair(int ret[2], struct error *err);

/* `deadline_ms` -1: waits for ever. */
int frame_send(int socket, uint16_t kind, uint16_t status, const struct record_bytes *bytes, int64_t deadline_ms, struct error *err);
int frame_receive(int socket, struct frame *ret, int64_t deadline_ms, struct error *err);

#endif
