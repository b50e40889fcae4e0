/* The API description, embedded by server/openapi_data.S. The byte after its end is NUL. */
#ifndef SMARTVM_SERVER_OPENAPI_DATA_H
#define SMARTVM_SERVER_OPENAPI_DATA_H

#include <stddef.h>

extern const char openapi_yaml_begin[];
extern const size_t openapi_yaml_len; /* bytes, without the NUL */

#endif
