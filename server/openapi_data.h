/* The API description, embedded by server/openapi_data.S. The byte after the end is NUL. */
#ifndef SMARTVM_SERVER_OPENAPI_DATA_H
#define SMARTVM_SERVER_OPENAPI_DATA_H

extern const char openapi_yaml_begin[];
extern const char openapi_yaml_end[];

#endif
