/* Where a packet's structure has what the gate asks for, by the kernel's own description (BTF). Read once, and nothing of it is kept. */
#include "host/gate/parts.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BYTES_MAX = 64 * 1024 * 1024, /* some 6 MiB nowadays */
    TYPES_MAX = 4 * 1024 * 1024,
    DEPTH_MAX = 8, /* of nameless structures and unions in each other */
    BITS = 8,      /* in a byte */
    NUMBER_BITS = 16,
};

struct description {
    const uint8_t *types, *names; /* both end within the file, names with a zero */
    uint32_t types_len, names_len;
    uint32_t *places; /* in `types`, by a type's number; 0: none such */
    uint32_t count;
};

static const struct btf_type *type_at(const struct description *d, uint32_t place)
{
    return (const struct btf_type *)(const void *)(d->types + place);
}

static bool is_called(const struct description *d, uint32_t name, const char *wanted)
{
    return name < d->names_len && strcmp((const char *)d->names + name, wanted) == 0;
}

/* What follows the head of a type. -1: of a kind that is not known, so nothing behind it can be found. */
static int64_t bytes_behind(const struct btf_type *type)
{
    const int64_t many = BTF_INFO_VLEN(type->info);
    switch (BTF_INFO_KIND(type->info)) {
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG:
        return 0;
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG:
        return sizeof(uint32_t);
    case BTF_KIND_ARRAY:
        return sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
        return many * (int64_t)sizeof(struct btf_member);
    case BTF_KIND_ENUM:
        return many * (int64_t)sizeof(struct btf_enum);
    case BTF_KIND_FUNC_PROTO:
        return many * (int64_t)sizeof(struct btf_param);
    case BTF_KIND_DATASEC:
        return many * (int64_t)sizeof(struct btf_var_secinfo);
    case BTF_KIND_ENUM64:
        return many * (int64_t)sizeof(struct btf_enum64);
    default:
        return -1;
    }
}

/* Notes the place of every type, up to one of an unknown kind. Returns that of struct sk_buff, or -1. */
static int64_t find_packet(struct description *d)
{
    int64_t found = -1;
    uint32_t place = 0;
    for (d->count = 1; d->count < TYPES_MAX && d->types_len - place >= sizeof(struct btf_type); d->count++) {
        const struct btf_type *type = type_at(d, place);
        const int64_t behind = bytes_behind(type);
        if (behind < 0 || behind > (int64_t)(d->types_len - place - sizeof *type)) {
            break;
        }
        if (BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT && is_called(d, type->name_off, "sk_buff")) {
            found = place;
        }
        d->places[d->count] = place;
        place += (uint32_t)sizeof *type + (uint32_t)behind;
    }
    return found;
}

/* In bits from the start of the outermost one; -1: not there. */
static int64_t find_member(const struct description *d, uint32_t place, const char *name, int depth)
{
    const struct btf_type *type = type_at(d, place);
    const uint32_t kind = BTF_INFO_KIND(type->info);
    const struct btf_member *members = (const struct btf_member *)(const void *)(type + 1);
    if ((kind != BTF_KIND_STRUCT && kind != BTF_KIND_UNION) || depth == DEPTH_MAX) {
        return -1;
    }
    for (uint32_t i = 0; i < BTF_INFO_VLEN(type->info); i++) {
        const struct btf_member *member = &members[i];
        const int64_t at = BTF_INFO_KFLAG(type->info) ? BTF_MEMBER_BIT_OFFSET(member->offset) : member->offset;
        if (is_called(d, member->name_off, name)) {
            return at;
        }
        if (member->name_off == 0 && member->type > 0 && member->type < d->count) {
            const int64_t within = find_member(d, d->places[member->type], name, depth + 1);
            if (within >= 0) {
                return at + within;
            }
        }
    }
    return -1;
}

static int read_members(const struct description *d, uint32_t packet, struct gate_layout *ret)
{
    const int64_t summed = find_member(d, packet, "ip_summed", 0);
    const int64_t start = find_member(d, packet, "csum_start", 0);
    const int64_t offset = find_member(d, packet, "csum_offset", 0);
    const int64_t mac = find_member(d, packet, "mac_header", 0);
    if (summed < 0 || summed % BITS > BITS - 2 || start < 0 || start % BITS != 0 || offset != start + NUMBER_BITS || mac < 0 || mac % BITS != 0) {
        return ENOENT;
    }
    *ret = (struct gate_layout){
        .summed = (int)(summed / BITS), .summed_shift = (int)(summed % BITS), .checksum = (int)(start / BITS), .mac_header = (int)(mac / BITS)};
    return 0;
}

static int read_description(const uint8_t *bytes, size_t len, struct gate_layout *ret)
{
    struct btf_header head;
    if (len < sizeof head) {
        return EPROTO;
    }
    memcpy(&head, bytes, sizeof head);
    const uint64_t types = (uint64_t)head.hdr_len + head.type_off;
    const uint64_t names = (uint64_t)head.hdr_len + head.str_off;
    if (head.magic != BTF_MAGIC || types % sizeof(uint32_t) != 0 || types + head.type_len > len || names + head.str_len > len || head.str_len == 0 ||
        bytes[names + head.str_len - 1] != '\0') {
        return EPROTO;
    }
    AUTO_FREE uint32_t *places = calloc(TYPES_MAX, sizeof *places);
    struct description d = {.types = bytes + types, .types_len = head.type_len, .names = bytes + names, .names_len = head.str_len, .places = places};
    if (places == NULL) {
        return ENOMEM;
    }
    const int64_t packet = find_packet(&d);
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return packet < 0 ? ENOENT : read_members(&d, (uint32_t)packet, ret);
}

int gate_layout_read(const char *path, struct gate_layout *ret)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return errno;
    }
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
        return ENOTSUP; /* bits are numbered from the other end there, and nobody has tried it */
    }
    if (st.st_size <= 0 || st.st_size > BYTES_MAX) {
        return EFBIG;
    }
    AUTO_FREE uint8_t *bytes = malloc((size_t)st.st_size);
    size_t len = 0;
    while (bytes != NULL && len < (size_t)st.st_size) {
        const ssize_t got = read(fd, bytes + len, (size_t)st.st_size - len);
        if (got <= 0) {
            return got < 0 ? errno : EPROTO;
        }
        len += (size_t)got;
    }
    return bytes == NULL ? ENOMEM : read_description(bytes, len, ret);
}
