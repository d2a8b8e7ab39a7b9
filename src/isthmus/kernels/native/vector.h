/* Sixteen floats at a time, in the compiler's own vector type: the same source on every processor. */
#ifndef ISTHMUS_VECTOR_H
#define ISTHMUS_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

INLINE vec load_part(const float *p, int64_t n) {
    vec v = {0};
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}

INLINE void store_part(float *p, vec v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof(float)); }

INLINE vec splat(float s) { return (vec){0} + s; }

INLINE float sum(vec v) {
    float part[LANES];
    store(part, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

INLINE vec larger(vec a, vec b) {
    ivec which = a > b;
    return (vec)(((ivec)a & which) | ((ivec)b & ~which));
}

/* <a, b>: four running sums, then a fixed tree. */
INLINE float dot(const float *a, const float *b, int64_t d) {
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * LANES <= d; i += 4 * LANES) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + LANES) * load(b + i + LANES);
        s2 += load(a + i + 2 * LANES) * load(b + i + 2 * LANES);
        s3 += load(a + i + 3 * LANES) * load(b + i + 3 * LANES);
    }
    for (; i + LANES <= d; i += LANES) s0 += load(a + i) * load(b + i);
    if (i < d) s1 += load_part(a + i, d - i) * load_part(b + i, d - i);
    return sum((s0 + s1) + (s2 + s3));
}

INLINE void fetch_row(const float *row, int64_t d) {
    for (int64_t i = 0; i < d; i += LANES) __builtin_prefetch(row + i, 0, 2);
}

#endif
