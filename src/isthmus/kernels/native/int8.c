/* Selection by int8 products that are never stored (AVX-512 with VNNI).
 *
 * Weights are rounded to 8 bits with one step per latent, examples with one step per row. The
 * product of a panel of latents with a few rows stays in registers; what may be among the best is
 * appended to the row's candidates, and those that remain are computed again in float32. Rounding
 * to the nearest multiple of s leaves errors that are sub-Gaussian with variance s^2 / 12 each, so
 * a product's error exceeds SIGMAS (s_x |w| + s_w |x|) / sqrt(12) with a chance below
 * 2 exp(-SIGMAS^2 / 2), and less where the two parts are alike. Where errors are not independent see
 * rounding_of.
 */
#include "candidates.h"
#include "isthmus.h"
#include "parallel.h"

#include <float.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PANEL 64     /* latents of a panel: four vectors of 16 */
#define MICRO 6      /* rows of the inner product */
#define ROW_TASK 96  /* rows that share one pass over the panels */
#define SIGMAS 4.5f
#define RETIGHTEN 12 /* rounds of bisection */

static int64_t quads_of(int64_t d) { return (d + 3) / 4; }
static int64_t panels_of(int64_t width) { return (width + PANEL - 1) / PANEL; }

int64_t isthmus_packed_bytes(int64_t width, int64_t d) {
    return panels_of(width) * PANEL * quads_of(d) * 4;
}

typedef struct {
    const float *weight;
    int64_t width, d;
    uint8_t *packed;
    float *step, *norm, *rounding;
} pack_job;

INLINE __mmask16 lanes(int64_t left) {
    return left < LANES ? (__mmask16)((1u << left) - 1) : (__mmask16)0xFFFF;
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

/* One panel: for each four elements, four vectors of 16 latents times four bytes, offset by 128. */
static void pack_task(void *argument, int64_t panel, int slot) {
    (void)slot;
    const pack_job *job = argument;
    const int64_t d = job->d, quads = quads_of(d);
    uint8_t *out = job->packed + panel * PANEL * quads * 4;
    for (int64_t l = 0; l < PANEL; l++) {
        int64_t latent = panel * PANEL + l;
        if (latent >= job->width) {
            for (int64_t q = 0; q < quads; q++) memset(out + (q * PANEL + l) * 4, 128, 4);
            continue;
        }
        const float *w = job->weight + latent * d;
        float top = largest_of(w, d), step = top > 0.0f ? top / 127.0f : 1.0f;
        float norm = sqrtf(dot(w, w, d));
        job->step[latent] = isfinite(norm) ? step : NAN; /* NaN shows: see append */
        job->norm[latent] = norm;
        job->rounding[latent] = rounding_of(w, d, step);
        for (int64_t i = 0; i < d; i += LANES) {
            __m128i bytes = _mm_xor_si128(rounded(w + i, d - i, 1.0f / step),
                                          _mm_set1_epi8((char)0x80));
            uint32_t four[4];
            _mm_storeu_si128((__m128i *)four, bytes);
            for (int64_t q = i / 4; q < i / 4 + 4 && q < quads; q++)
                memcpy(out + (q * PANEL + l) * 4, &four[q - i / 4], 4);
        }
    }
}

void isthmus_pack(const float *weight, int64_t width, int64_t d, uint8_t *packed, float *step,
                  float *norm, float *rounding, int32_t threads) {
    pack_job job = {weight, width, d, packed, step, norm, rounding};
    run_tasks(pack_task, &job, panels_of(width), threads);
}

typedef struct {
    const isthmus_selection *job;
    const uint8_t *packed;
    /* Of each latent, in units of what is compared, padded to whole panels. */
    float *scale, *bias, *width_of; /* width_of: the margin in units of the row's */
    float largest_norm, largest_rounding;
    int64_t room, scratch_bytes;
    char *scratch;
    atomic_llong in_full;
} int8_job;

/* What may be among the best of a row: the true score lies in [lower, upper]. */
typedef struct {
    float *upper, *lower;
    int32_t *latent;
    int64_t count;
} interval_list;

typedef struct {
    float step, margin, bound;
    int32_t offset; /* minus 128 times the sum of the rounded row */
    interval_list c;
} row_state;

/* Append those of 16 latents whose upper end reaches the bound. */
INLINE void append(row_state *row, const int8_job *p, int64_t first, __m512i sums, int magnitude) {
    __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(p->scale + first), _mm512_set1_ps(row->step));
    __m512 score = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale,
                                   _mm512_loadu_ps(p->bias + first));
    if (magnitude) score = _mm512_abs_ps(score);
    __m512 margin =
        _mm512_mul_ps(_mm512_set1_ps(row->margin), _mm512_loadu_ps(p->width_of + first));
    __m512 upper = _mm512_add_ps(score, margin);
    /* Not "less than": NaN is a candidate, so that it shows. */
    __mmask16 in = _mm512_cmp_ps_mask(upper, _mm512_set1_ps(row->bound), _CMP_NLT_UQ);
    if (!in) return;
    const int64_t left = p->job->width - first; /* a panel may reach beyond the last latent */
    if (left < LANES) in &= (__mmask16)(left > 0 ? (1u << left) - 1 : 0);
    __m512i latents = _mm512_add_epi32(
        _mm512_set1_epi32((int32_t)first),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    interval_list *c = &row->c;
    _mm512_storeu_ps(c->upper + c->count, _mm512_maskz_compress_ps(in, upper));
    _mm512_storeu_ps(c->lower + c->count,
                     _mm512_maskz_compress_ps(in, _mm512_sub_ps(score, margin)));
    _mm512_storeu_si512(c->latent + c->count, _mm512_maskz_compress_epi32(in, latents));
    c->count += __builtin_popcount(in);
}

/* A number that at least k of the lower ends reach, close to the largest such number. */
INLINE float nearly_kth_lower(const interval_list *c, int64_t k, int rounds) {
    __m512 low_v = _mm512_set1_ps(FLT_MAX), high_v = _mm512_set1_ps(-FLT_MAX);
    for (int64_t i = 0; i < c->count; i += LANES) {
        __m512 v = _mm512_loadu_ps(c->lower + i);
        /* In this order a NaN leaves the other operand. */
        low_v = _mm512_mask_min_ps(low_v, lanes(c->count - i), v, low_v);
        high_v = _mm512_mask_max_ps(high_v, lanes(c->count - i), v, high_v);
    }
    float low = _mm512_reduce_min_ps(low_v), high = _mm512_reduce_max_ps(high_v);
    for (int round = 0; round < rounds; round++) {
        float middle = low + 0.5f * (high - low);
        if (!(middle > low && middle < high)) break;
        __m512 limit = _mm512_set1_ps(middle);
        int64_t reach = 0;
        for (int64_t i = 0; i < c->count; i += LANES)
            reach += __builtin_popcount(_mm512_mask_cmp_ps_mask(
                lanes(c->count - i), _mm512_loadu_ps(c->lower + i), limit, _CMP_GE_OQ));
        if (reach >= k) low = middle;
        else high = middle;
        if (reach == k) break;
    }
    return low;
}

/* Drop what cannot be among the k best; sets the bound below which new ones need not be kept. */
INLINE void tighten(row_state *row, int64_t k, int rounds) {
    interval_list *c = &row->c;
    if (c->count <= k) return;
    row->bound = nearly_kth_lower(c, k, rounds);
    __m512 bound = _mm512_set1_ps(row->bound);
    int64_t kept = 0;
    for (int64_t i = 0; i < c->count; i += LANES) {
        __m512 upper = _mm512_loadu_ps(c->upper + i), lower = _mm512_loadu_ps(c->lower + i);
        __m512i latent = _mm512_loadu_si512(c->latent + i);
        __mmask16 in = _mm512_mask_cmp_ps_mask(lanes(c->count - i), upper, bound, _CMP_NLT_UQ);
        _mm512_storeu_ps(c->upper + kept, _mm512_maskz_compress_ps(in, upper));
        _mm512_storeu_ps(c->lower + kept, _mm512_maskz_compress_ps(in, lower));
        _mm512_storeu_si512(c->latent + kept, _mm512_maskz_compress_epi32(in, latent));
        kept += __builtin_popcount(in);
    }
    c->count = kept;
}

/* One panel of latents with MICRO rows. */
INLINE void micro(const uint8_t *panel, const int8_t *x, int64_t quads, const row_state *state,
                  __m512i out[MICRO][4]) {
    __m512i s[MICRO][4];
    for (int r = 0; r < MICRO; r++)
        for (int v = 0; v < 4; v++) s[r][v] = _mm512_set1_epi32(state[r].offset);
    for (int64_t q = 0; q < quads; q++) {
        __m512i w[4];
        for (int v = 0; v < 4; v++) w[v] = _mm512_loadu_si512(panel + (q * 4 + v) * 64);
        for (int r = 0; r < MICRO; r++) {
            int32_t four;
            memcpy(&four, x + (r * quads + q) * 4, 4);
            __m512i b = _mm512_set1_epi32(four);
            for (int v = 0; v < 4; v++) s[r][v] = _mm512_dpbusd_epi32(s[r][v], w[v], b);
        }
    }
    for (int r = 0; r < MICRO; r++)
        for (int v = 0; v < 4; v++) out[r][v] = s[r][v];
}

static void start_row(const int8_job *p, int64_t n, int8_t *bytes, row_state *row) {
    const isthmus_selection *job = p->job;
    const int64_t d = job->d, quads = quads_of(d);
    const float *x = job->x + n * d;
    float top = largest_of(x, d), step = top > 0.0f ? top / 127.0f : 1.0f;
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < quads * 4; i += LANES) {
        __m128i sixteen = rounded(x + i, d - i, 1.0f / step);
        total = _mm512_add_epi32(total, _mm512_cvtepi8_epi32(sixteen));
        int8_t part[16];
        _mm_storeu_si128((__m128i *)part, sixteen);
        memcpy(bytes + i, part, (size_t)(quads * 4 - i < 16 ? quads * 4 - i : 16));
    }
    row->step = step;
    row->offset = -128 * _mm512_reduce_add_epi32(total);
    row->margin = rounding_of(x, d, step) * p->largest_norm +
                  sqrtf(dot(x, x, d)) * p->largest_rounding;
    row->bound = job->mode == SELECT_ABOVE ? 0.0f : -FLT_MAX;
    row->c.count = 0;
}

/* A row whose candidates did not fit: every latent is one. */
static void whole_row(const int8_job *p, int64_t n) {
    const isthmus_selection *job = p->job;
    int64_t width = job->width;
    float *score = malloc((size_t)width * (2 * sizeof(float) + sizeof(int32_t)));
    candidates c = {score, score + width, (int32_t *)(score + 2 * width), width};
    for (int64_t i = 0; i < width; i++) c.latent[i] = (int32_t)i;
    recompute(job, n, &c);
    write_row(job, n, &c);
    free(score);
}

static void int8_task(void *argument, int64_t task, int slot) {
    int8_job *p = argument;
    const isthmus_selection *job = p->job;
    const int64_t quads = quads_of(job->d), panels = panels_of(job->width), room = p->room;
    const int64_t k = job->k, first = task * ROW_TASK;
    const int64_t rows = job->rows - first < ROW_TASK ? job->rows - first : ROW_TASK;
    const int top = job->mode != SELECT_ABOVE, magnitude = job->mode == SELECT_TOP_MAGNITUDE;
    char *scratch = p->scratch + slot * p->scratch_bytes;
    row_state *state = (row_state *)scratch;
    int8_t *bytes = (int8_t *)(state + ROW_TASK);
    float *lists = (float *)(bytes + (ROW_TASK * quads * 4 + 63) / 64 * 64);
    char overflow[ROW_TASK] = {0};
    memset(bytes, 0, (size_t)(ROW_TASK * quads * 4));
    for (int64_t r = 0; r < rows; r++) {
        float *own = lists + r * 3 * room;
        state[r].c = (interval_list){own, own + room, (int32_t *)(own + 2 * room), 0};
        start_row(p, first + r, bytes + r * quads * 4, &state[r]);
    }
    for (int64_t panel = 0; panel < panels; panel++) {
        const uint8_t *weights = p->packed + panel * PANEL * quads * 4;
        for (int64_t r = 0; r < rows; r += MICRO) {
            __m512i sums[MICRO][4];
            micro(weights, bytes + r * quads * 4, quads, state + r, sums);
            for (int i = 0; i < MICRO && r + i < rows; i++) {
                row_state *row = &state[r + i];
                if (overflow[r + i]) continue;
                for (int v = 0; v < 4; v++)
                    append(row, p, panel * PANEL + v * LANES, sums[i][v], magnitude);
                if (row->c.count + PANEL + LANES <= room) continue;
                if (top) tighten(row, k, RETIGHTEN);
                if (row->c.count + PANEL + LANES > room) overflow[r + i] = 1;
            }
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        row_state *row = &state[r];
        if (overflow[r] && top) {
            whole_row(p, first + r);
            atomic_fetch_add(&p->in_full, 1);
            continue;
        }
        if (overflow[r]) { /* more than there is room for: the caller must take another way */
            job->counts[first + r] = -1;
            continue;
        }
        if (top) tighten(row, k, 2 * RETIGHTEN);
        /* The ends have served: their room takes the true scores, and keys to sort. */
        candidates c = {row->c.lower, row->c.upper, row->c.latent, row->c.count};
        recompute(job, first + r, &c);
        write_row(job, first + r, &c);
    }
}

int64_t isthmus_select_int8(const isthmus_selection *job, const uint8_t *packed, const float *step,
                            const float *norm, const float *rounding) {
    const int64_t quads = quads_of(job->d), padded = panels_of(job->width) * PANEL;
    int64_t room = (job->mode == SELECT_ABOVE ? job->k + job->k / 2 : 4 * job->k) + 4 * PANEL;
    room = (room + LANES + 63) / 64 * 64;
    const int threads = job->threads > 1 ? job->threads : 1;
    int64_t bytes = ROW_TASK * (int64_t)sizeof(row_state) + ROW_TASK * quads * 4 + 64 +
                    room * (int64_t)sizeof(float) * 3 * ROW_TASK;
    bytes = (bytes + 127) / 64 * 64;
    float *latents = malloc((size_t)(padded * 3) * sizeof(float));
    char *scratch = aligned_alloc(64, (size_t)(bytes * threads));
    int8_job p = {.job = job, .packed = packed, .scale = latents, .bias = latents + padded,
                  .width_of = latents + 2 * padded, .room = room, .scratch_bytes = bytes,
                  .scratch = scratch};
    for (int64_t i = 0; i < padded; i++) {
        p.scale[i] = p.bias[i] = p.width_of[i] = 0.0f;
        if (i >= job->width) continue;
        float factor = job->priority && job->mode != SELECT_ABOVE ? job->priority[i] : 1.0f;
        p.scale[i] = step[i] * factor;
        p.bias[i] = job->bias[i] * factor;
        if (job->mode == SELECT_ABOVE) p.bias[i] -= job->cutoff[i];
        if (norm[i] * factor > p.largest_norm) p.largest_norm = norm[i] * factor;
        if (rounding[i] * factor > p.largest_rounding) p.largest_rounding = rounding[i] * factor;
    }
    /* One factor bounds both parts of a latent's margin. */
    for (int64_t i = 0; i < job->width; i++) {
        float factor = job->priority && job->mode != SELECT_ABOVE ? job->priority[i] : 1.0f;
        float by_norm = p.largest_norm > 0.0f ? norm[i] * factor / p.largest_norm : 1.0f;
        float by_own = p.largest_rounding > 0.0f ? rounding[i] * factor / p.largest_rounding : 1.0f;
        p.width_of[i] = by_norm > by_own ? by_norm : by_own;
    }
    run_tasks(int8_task, &p, (job->rows + ROW_TASK - 1) / ROW_TASK, threads);
    free(scratch);
    free(latents);
    return (int64_t)p.in_full;
}
