/* Writing JSON text straight into a buffer, for what is answered often. The names of members are the caller's
 * literals. */
#ifndef SMARTVM_API_JSON_OUT_H
#define SMARTVM_API_JSON_OUT_H

#include "core/strbuf.h"

#include <stdint.h>

void json_out_string(struct strbuf *b, const char *text); /* with quotes; NULL gives null */
void json_out_int(struct strbuf *b, int64_t value);
void json_out_bool(struct strbuf *b, bool value);
void json_out_time(struct strbuf *b, int64_t wall_ms); /* RFC 3339, with quotes */

#endif
