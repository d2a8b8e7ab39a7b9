/* Numbers rounded to 8 bits: how they are laid out, and how far off their products may be. */
#ifndef ISTHMUS_INT8_H
#define ISTHMUS_INT8_H

#include "level.h"
#include "vector.h"

#include <immintrin.h>

#define PANEL 64      /* latents of a panel: four vectors of 16 */
#define TILE_QUADS 16 /* of a tile's 64 bytes */
#define SIGMAS 4.5f

/* Rows of bytes are padded to fours, for tiles to whole ones. */
static int64_t quads_of(int64_t d) {
    int64_t quads = (d + 3) / 4;
    return isthmus_has_tiles() ? (quads + TILE_QUADS - 1) / TILE_QUADS * TILE_QUADS : quads;
}

static int64_t panels_of(int64_t width) { return (width + PANEL - 1) / PANEL; }

INLINE __mmask16 lanes(int64_t left) {
    if (left >= LANES) return 0xFFFF;
    return (__mmask16)(left > 0 ? (1u << left) - 1 : 0);
}

INLINE float largest_of(const float *x, int64_t d) {
    __m512 top = _mm512_setzero_ps();
    for (int64_t i = 0; i < d; i += LANES) {
        __mmask16 part = d - i < LANES ? (__mmask16)((1u << (d - i)) - 1) : (__mmask16)0xFFFF;
        top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_maskz_loadu_ps(part, x + i)));
    }
    return _mm512_reduce_max_ps(top);
}

/* Sixteen numbers rounded to int8 in units of 1 / inverse, as 16 bytes. */
INLINE __m128i rounded(const float *x, int64_t left, float inverse) {
    __mmask16 part = left < LANES ? (__mmask16)((1u << left) - 1) : (__mmask16)0xFFFF;
    __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(part, x), _mm512_set1_ps(inverse));
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
}

/* How much the rounding of v in steps may move its product with a vector of length 1.
 *
 * Errors of elements of several steps are as good as random. What is smaller than a step and a half
 * is rounded towards zero or away from it alike wherever it is alike, as where one element dwarfs the
 * rest: this error lies along the small elements themselves, and so may the other vector.
 */
INLINE float rounding_of(const float *v, int64_t d, float step) {
    const __m512 limit = _mm512_set1_ps(1.5f * step), inverse = _mm512_set1_ps(1.0f / step);
    __m512 along = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < d; i += LANES) {
        __m512 x = _mm512_maskz_loadu_ps(lanes(d - i), v + i);
        __m512 near = _mm512_roundscale_ps(_mm512_mul_ps(x, inverse), 0);
        __m512 error = _mm512_fnmadd_ps(near, _mm512_set1_ps(step), x);
        __mmask16 small = _mm512_cmp_ps_mask(_mm512_abs_ps(x), limit, _CMP_LT_OQ);
        along = _mm512_mask3_fmadd_ps(error, x, along, small);
        squares = _mm512_mask3_fmadd_ps(x, x, squares, small);
    }
    float length = sqrtf(_mm512_reduce_add_ps(squares));
    float part = length > 0.0f ? fabsf(_mm512_reduce_add_ps(along)) / length : 0.0f;
    return SIGMAS / sqrtf(12.0f) * step + part;
}

#endif
