/* Arrays that grow by one. */
#ifndef SMARTVM_CORE_ARRAY_H
#define SMARTVM_CORE_ARRAY_H

#include <stdlib.h>

/*
 * Room for one more behind `count` items of `size` bytes. The room doubles at each power of two, so an array that grows only by this needs no field for
 * its room. Returns the array, which may have moved; NULL when out of memory, and then `array` is as it was.
 */
static inline void *array_grow(void *array, size_t count, size_t size)
{
    return (count & (count - 1)) != 0 ? array : reallocarray(array, count == 0 ? 1 : count * 2, size);
}

#endif
