/* Selection by int8 products that are never stored (AVX-512 with VNNI, or AMX).
 *
 * Weights are rounded to 8 bits with one step per latent, examples with one step per row. The
 * products of a panel of latents with a few rows are looked at at once; what may be among the best is
 * appended to the row's candidates, and those that remain are computed again in float32. Rounding
 * to the nearest multiple of s leaves errors that are sub-Gaussian with variance s^2 / 12 each, so
 * a product's error exceeds SIGMAS (s_x |w| + s_w |x|) / sqrt(12) with a chance below
 * 2 exp(-SIGMAS^2 / 2), and less where the two parts are alike. Where errors are not independent see
 * rounding_of.
 */
#include "candidates.h"
#include "int8.h"
#include "parallel.h"

#include <float.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MICRO 6                 /* rows of the inner product by vectors */
#define TILED 32                /* rows of the inner product by tiles: two of 16 */
#define ROW_TASK 96             /* rows that share one pass over the panels; by tiles more, */
#define TILED_TASK 256          /* which are fast enough to wait for the panels otherwise */
#define BLOCK_LATENTS 512       /* whose weights are read together */
#define CACHED_FLOATS (1 << 17) /* of the examples whose candidates are recomputed together */
#define RETIGHTEN 8             /* rounds of bisection */

typedef struct {
    const isthmus_selection *job;
    const uint8_t *packed;
    /* Of each latent, in units of what is compared, padded to whole panels. */
    float *scale, *bias, *width_of; /* width_of: the margin in units of the row's */
    float largest_norm, largest_rounding;
    int64_t room, most; /* most: after which a panel may not fit */
    int64_t scratch_bytes, task_rows;
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
    int overflow;   /* more candidates than there is room for */
    interval_list c;
    int64_t enough; /* so many that it pays to drop some */
    int64_t next;   /* the first candidate whose true score is not known yet */
} row_state;

/* Append those of a panel's latents whose upper ends reach the bound.
 *
 * Without a branch for each vector: which of them have one is past predicting. */
INLINE void append(row_state *row, const int8_job *p, int64_t panel, const __m512i sums[4],
                   int magnitude) {
    const __m512 step = _mm512_set1_ps(row->step), wide = _mm512_set1_ps(row->margin);
    const __m512 bound = _mm512_set1_ps(row->bound);
    const __m512i offset = _mm512_set1_epi32(row->offset);
    const int64_t first = panel * PANEL, left = p->job->width - first;
    __m512 score[4], margin[4];
    __mmask16 in[4];
    for (int v = 0; v < 4; v++) {
        const int64_t at = first + v * LANES;
        __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[v], offset));
        score[v] = _mm512_fmadd_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(p->scale + at), step),
                                   _mm512_loadu_ps(p->bias + at));
        if (magnitude) score[v] = _mm512_abs_ps(score[v]);
        margin[v] = _mm512_mul_ps(wide, _mm512_loadu_ps(p->width_of + at));
        /* Not "less than": NaN is a candidate, so that it shows. */
        in[v] = _mm512_cmp_ps_mask(_mm512_add_ps(score[v], margin[v]), bound, _CMP_NLT_UQ);
    }
    if (!(in[0] | in[1] | in[2] | in[3])) return;
    float *upper = row->c.upper + row->c.count, *lower = row->c.lower + row->c.count;
    int32_t *latent = row->c.latent + row->c.count;
    __m512i latents = _mm512_add_epi32(
        _mm512_set1_epi32((int32_t)first),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    int64_t count = 0;
    for (int v = 0; v < 4; v++) {
        if (left < PANEL) in[v] &= lanes(left - v * LANES); /* it reaches beyond the last latent */
        _mm512_storeu_ps(upper + count,
                         _mm512_maskz_compress_ps(in[v], _mm512_add_ps(score[v], margin[v])));
        _mm512_storeu_ps(lower + count,
                         _mm512_maskz_compress_ps(in[v], _mm512_sub_ps(score[v], margin[v])));
        _mm512_storeu_si512(latent + count, _mm512_maskz_compress_epi32(in[v], latents));
        count += __builtin_popcount(in[v]);
        latents = _mm512_add_epi32(latents, _mm512_set1_epi32(LANES));
    }
    row->c.count += count;
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
INLINE void micro(const uint8_t *panel, const int8_t *x, int64_t quads, __m512i out[][4]) {
    __m512i s[MICRO][4];
    for (int r = 0; r < MICRO; r++)
        for (int v = 0; v < 4; v++) s[r][v] = _mm512_setzero_si512();
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

/* Products of a panel with the rows from `first` on, and how many of these have been looked at. */
typedef struct {
    __m512i sums[TILED][4];
    int64_t panel, first, rows, seen;
} product_block;

/* Look at so many more rows of a block: append their candidates, and drop what has become hopeless. */
INLINE void look(const int8_job *p, product_block *block, row_state *state, int64_t number) {
    const int64_t k = p->job->k, most = p->most;
    const int top = p->job->mode != SELECT_ABOVE;
    const int64_t stop = block->seen + number < block->rows ? block->seen + number : block->rows;
    for (int64_t i = block->seen; i < stop; i++) {
        row_state *row = &state[block->first + i];
        if (row->overflow) continue;
        append(row, p, block->panel, block->sums[i], p->job->mode == SELECT_TOP_MAGNITUDE);
        if (row->c.count <= row->enough) continue;
        if (top) tighten(row, k, RETIGHTEN);
        row->overflow = row->c.count > most;
        const int64_t more = row->c.count > k ? row->c.count : k;
        row->enough = row->c.count + more < most ? row->c.count + more : most;
    }
    block->seen = stop;
}

#ifdef __AMX_INT8__
/* All eight tiles of 16 rows of 64 bytes. */
INLINE void start_tiles(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        shape.bytes[t] = 64;
        shape.rows[t] = 16;
    }
    _tile_loadconfig(&shape);
}

/* One panel of latents with TILED rows: the same whole numbers as by vectors.
 *
 * Between the tiles' products the vectors look at the block before, or either would wait. */
INLINE void tiled(const uint8_t *panel, const int8_t *x, int64_t quads, product_block *out,
                  const int8_job *p, product_block *before, row_state *state) {
    const int64_t row = quads * 4, passes = 2 * quads / TILE_QUADS;
    const int64_t each = (TILED + passes - 1) / passes;
    for (int half = 0; half < 4; half += 2) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t q = 0; q < quads; q += TILE_QUADS) {
            _tile_loadd(4, x + q * 4, row);
            _tile_loadd(6, panel + (q * 4 + half) * 64, 256);
            _tile_loadd(7, panel + (q * 4 + half + 1) * 64, 256);
            _tile_dpbsud(0, 4, 6);
            _tile_dpbsud(1, 4, 7);
            _tile_loadd(5, x + 16 * row + q * 4, row);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
            look(p, before, state, each);
        }
        _tile_stored(0, &out->sums[0][half], 256);
        _tile_stored(1, &out->sums[0][half + 1], 256);
        _tile_stored(2, &out->sums[16][half], 256);
        _tile_stored(3, &out->sums[16][half + 1], 256);
    }
}
#else
#define start_tiles()
#define _tile_release()
#define tiled(panel, x, quads, out, p, before, state) micro(panel, x, quads, (out)->sums)
#endif

static void start_row(const int8_job *p, int64_t n, int8_t *bytes, row_state *row) {
    const isthmus_selection *job = p->job;
    const int64_t d = job->d, quads = quads_of(d);
    const float *x = job->x + n * d;
    float top = largest_of(x, d), step = top > 0.0f ? top / 127.0f : 1.0f;
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < d; i += LANES) {
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
    row->c.count = row->next = 0;
    row->enough = p->job->mode == SELECT_ABOVE || 3 * p->job->k > p->most ? p->most : 3 * p->job->k;
    row->overflow = 0;
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

/* All candidates' true scores: those of many rows together, by blocks of latents.
 *
 * Examples and a block's weights then stay in the cache of second level, and what a row needs of the
 * next block is fetched while the other rows are served.
 */
static void recompute_rows(const isthmus_selection *job, int64_t first, row_state *state,
                           int64_t rows) {
    const int64_t d = job->d;
    for (int64_t begin = 0; begin < job->width; begin += BLOCK_LATENTS) {
        for (int64_t r = 0; r < rows; r++) {
            interval_list *c = &state[r].c;
            const float *x = job->x + (first + r) * d;
            int64_t i = state[r].next;
            for (; i < c->count && c->latent[i] < begin + BLOCK_LATENTS; i++) {
                int64_t latent = c->latent[i];
                c->lower[i] = dot(x, job->weight + latent * d, d) + job->bias[latent];
            }
            state[r].next = i;
        }
    }
}

static void int8_task(void *argument, int64_t task, int slot) {
    int8_job *p = argument;
    const isthmus_selection *job = p->job;
    const int64_t quads = quads_of(job->d), panels = panels_of(job->width), room = p->room;
    const int64_t k = job->k, first = task * p->task_rows;
    const int64_t rows = job->rows - first < p->task_rows ? job->rows - first : p->task_rows;
    const int top = job->mode != SELECT_ABOVE;
    const int tiles = isthmus_has_tiles();
    const int64_t at_once = tiles ? TILED : MICRO;
    char *scratch = p->scratch + slot * p->scratch_bytes;
    int8_t *bytes = (int8_t *)scratch;
    float *lists = (float *)(bytes + p->task_rows * quads * 4);
    row_state *state = (row_state *)(lists + p->task_rows * 3 * room);
    memset(bytes, 0, (size_t)(p->task_rows * quads * 4));
    for (int64_t r = 0; r < rows; r++) {
        float *own = lists + r * 3 * room;
        state[r].c = (interval_list){own, own + room, (int32_t *)(own + 2 * room), 0};
        start_row(p, first + r, bytes + r * quads * 4, &state[r]);
    }
    product_block blocks[2] = {{.rows = 0}, {.rows = 0}}, *block = blocks, *before = blocks + 1;
    if (tiles) start_tiles();
    for (int64_t panel = 0; panel < panels; panel++) {
        const uint8_t *weights = p->packed + panel * PANEL * quads * 4;
        for (int64_t r = 0; r < rows; r += at_once) {
            block->panel = panel;
            block->first = r;
            block->rows = rows - r < at_once ? rows - r : at_once;
            block->seen = 0;
            if (tiles) {
                tiled(weights, bytes + r * quads * 4, quads, block, p, before, state);
                product_block *other = before;
                before = block;
                block = other;
            } else {
                micro(weights, bytes + r * quads * 4, quads, block->sums);
                look(p, block, state, TILED);
            }
        }
    }
    look(p, before, state, TILED);
    if (tiles) _tile_release();
    for (int64_t r = 0; r < rows; r++) {
        row_state *row = &state[r];
        if (row->overflow) row->c.count = 0;
        else if (top) tighten(row, k, 2 * RETIGHTEN);
    }
    /* The ends have served: their room takes the true scores, and keys to sort. */
    const int64_t together = CACHED_FLOATS / job->d > 0 ? CACHED_FLOATS / job->d : 1;
    for (int64_t r = 0; r < rows; r += together)
        recompute_rows(job, first + r, state + r, rows - r < together ? rows - r : together);
    for (int64_t r = 0; r < rows; r++) {
        row_state *row = &state[r];
        if (!row->overflow) {
            candidates c = {row->c.lower, row->c.upper, row->c.latent, row->c.count};
            write_row(job, first + r, &c);
        } else if (top) {
            whole_row(p, first + r);
            atomic_fetch_add(&p->in_full, 1);
        } else { /* the caller must take another way */
            job->counts[first + r] = -1;
        }
    }
}

int64_t isthmus_select_int8(const isthmus_selection *job, const uint8_t *packed, const float *step,
                            const float *norm, const float *rounding) {
    const int64_t quads = quads_of(job->d), padded = panels_of(job->width) * PANEL;
    int64_t room = (job->mode == SELECT_ABOVE ? job->k + job->k / 2 : 4 * job->k) + 4 * PANEL;
    room = (room + LANES + 63) / 64 * 64;
    const int threads = job->threads > 1 ? job->threads : 1;
    const int64_t task_rows = isthmus_has_tiles() ? TILED_TASK : ROW_TASK;
    int64_t bytes = task_rows * (quads * 4 + room * 3 * (int64_t)sizeof(float) +
                                 (int64_t)sizeof(row_state));
    bytes = (bytes + 127) / 64 * 64;
    float *latents = malloc((size_t)(padded * 3) * sizeof(float));
    char *scratch = aligned_alloc(64, (size_t)(bytes * threads));
    int8_job p = {.job = job, .packed = packed, .scale = latents, .bias = latents + padded,
                  .width_of = latents + 2 * padded, .room = room, .most = room - PANEL - LANES,
                  .scratch_bytes = bytes, .task_rows = task_rows, .scratch = scratch};
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
    run_tasks(int8_task, &p, (job->rows + task_rows - 1) / task_rows, threads);
    free(scratch);
    free(latents);
    return (int64_t)p.in_full;
}
