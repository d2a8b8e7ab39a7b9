/* One set of symbols for each instruction level that a file is compiled for. */
#ifndef ISTHMUS_LEVEL_H
#define ISTHMUS_LEVEL_H

#include "isthmus.h"

#ifndef ISTHMUS_LEVEL
#define ISTHMUS_LEVEL portable
#endif

#define GLUE_(a, b) isthmus_##a##_##b
#define GLUE(a, b) GLUE_(a, b)
#define LEVEL(name) GLUE(name, ISTHMUS_LEVEL)

/* Whether products of int8 go by tiles (AMX). */
int isthmus_has_tiles(void);

#define DECLARE(level)                                                                           \
    void isthmus_decode_##level(const float *, const int64_t *, const float *, int64_t, int64_t, \
                                int64_t, float *, int32_t);                                      \
    void isthmus_at_places_##level(const float *, const int64_t *, const float *, int64_t,       \
                                   int64_t, int64_t, float *, int32_t);                          \
    void isthmus_decode_error_##level(const float *, const int64_t *, const float *,             \
                                      const float *, const float *, int64_t, int64_t, int64_t,   \
                                      float *, float *, float *, int32_t);                       \
    void isthmus_row_update_##level(const isthmus_row_update *, float *, float *);               \
    void isthmus_select_products_##level(const isthmus_selection *, const float *);

DECLARE(portable)
DECLARE(avx2)
DECLARE(avx512)

#endif
