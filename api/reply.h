/* Inside api/ only: filling replies. */
#ifndef SMARTVM_API_REPLY_H
#define SMARTVM_API_REPLY_H

#include "api/api.h"
#include "core/strbuf.h"

/* A copy of `value` is made. Left out when there is no memory: no header is worth failing a committed write.
 */
void reply_header(struct api_reply *reply, const char *name, const char *value);

/* Makes a BODY of what is in `body` (emptied) after freeing what the reply was before; `media_type` is a literal. OUT_OF_MEMORY. */
int reply_body(struct api_reply *reply, int status, const char *media_type, struct strbuf *body, struct error *err);
int reply_json(struct api_reply *reply, int status, struct strbuf *body, struct error *err);

/* The same with a text that lives as long as the api. */
void reply_static(struct api_reply *reply, int status, const char *media_type, const char *text, size_t len);

/* A BODY without one: 204. */
void reply_empty(struct api_reply *reply, int status);

/* Marks an answer as one to a request that was carried out before. */
void reply_replayed(struct api_reply *reply);

/* 304: the headers stay. The body stays too, as with HEAD: the listener sends its length (RFC 9110, 8.6), and not the body. */
void reply_not_modified(struct api_reply *reply);

#endif
