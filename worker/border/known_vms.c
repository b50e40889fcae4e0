#include "worker/border/known_vms.h"

#include "worker/border/wanted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *a, const void *b)
{
    const struct message_vm_id *x = a;
    const struct message_vm_id *y = b;
    return strcmp(x->id, y->id);
}

int known_vms_load(struct border *border, struct known_vms *ret, struct error *err)
{
    ret->border = border;
    if (border_keys(border, &ret->keys, err) != 0) {
        return -1;
    }
    if (ret->keys.vm_count > 0) {
        qsort(ret->keys.vms, ret->keys.vm_count, sizeof *ret->keys.vms, compare_ids);
    }
    return 0;
}

void known_vms_free(struct known_vms *known)
{
    border_keys_free(&known->keys);
}

static bool is_listed(const struct message_keys *keys, const char *id)
{
    struct message_vm_id key;
    if (keys->vm_count == 0 || strlen(id) >= sizeof key.id) {
        return false;
    }
    (void)snprintf(key.id, sizeof key.id, "%s", id);
    return bsearch(&key, keys->vms, keys->vm_count, sizeof key, compare_ids) != NULL;
}

int known_vms_have(const struct known_vms *known, const char *id, bool *ret, struct error *err)
{
    struct vm_row row = {0};
    *ret = is_listed(&known->keys, id);
    if (*ret) {
        return 0;
    }
    int result = border_vm_get(known->border, id, &row, ret, err);
    vm_row_free(&row);
    return result;
}
