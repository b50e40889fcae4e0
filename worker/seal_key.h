/*
 * The key pair by which the API process hands secrets to the worker (core/seal.h): the private half in <state_dir>/seal.key (32 bytes, mode 0600,
 * root's), the public half as the fact "seal_key", in base64. Made at the first start. Who copies the database alone, or breaks into the API
 * process, has no secret by it.
 */
#ifndef SMARTVM_WORKER_SEAL_KEY_H
#define SMARTVM_WORKER_SEAL_KEY_H

#include "core/seal.h"

struct border;

/* Reads the private key, or makes one, and publishes the public half. */
int seal_key_load(const char *state_dir, struct border *border, uint8_t ret[SEAL_KEY_BYTES], struct error *err);

#endif
