/* Inside api/ only: an image's row as the JSON of components/schemas/Image. */
#ifndef SMARTVM_API_IMAGE_JSON_H
#define SMARTVM_API_IMAGE_JSON_H

#include "core/strbuf.h"
#include "db/images.h"

/* DATABASE when the stored texts are not JSON. */
int image_json(const struct image_row *row, struct strbuf *b, struct error *err);

#endif
