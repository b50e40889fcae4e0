/* Forms of names and ids, as openapi.yaml has them; for what comes from elsewhere than a request. Pure functions. */
#ifndef SMARTVM_CORE_NAMES_H
#define SMARTVM_CORE_NAMES_H

#include <stdbool.h>

bool name_is_vm_id(const char *text);             /* VmId: [a-z0-9][a-z0-9-]{0,62} */
bool name_is_image_id(const char *text);          /* ImageId: [A-Za-z0-9_-][A-Za-z0-9._-]{0,127} */
bool name_is_iface_id(const char *text);          /* InterfaceCreate.iface_id: [a-z0-9][a-z0-9_]{0,31} */
bool name_is_interface(const char *text);         /* interface_name_check(): never "all" or "default" */
bool name_is_interface_or_none(const char *text); /* the same, or "" */
bool name_is_sha256(const char *text);            /* 64 lower-case hexadecimal digits */
bool name_is_uuid_or_none(const char *text);      /* a boot id, or "" */
bool name_is_text(const char *text);              /* printable ASCII and blanks: no control characters, no line ends */

#endif
