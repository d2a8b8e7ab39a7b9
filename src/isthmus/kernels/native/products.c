/* Selection from a dense block of products x W^T.
 *
 * Two passes over a row: maxima of groups of columns bound the k-th largest from below, then the
 * few that reach the bound are collected.
 */
#include <stdlib.h>

#include "candidates.h"
#include "level.h"
#include "parallel.h"

#define ROW_TASK 16

typedef struct {
    const isthmus_selection *job;
    const float *products;
    char *scratch;
    int64_t scratch_bytes, groups;
} products_job;

INLINE vec magnitude(vec v) { return (vec)((ivec)v & 0x7FFFFFFF); }

/* What is compared, for n <= LANES latents from `first`; inlined with constant flags. */
INLINE vec keys_at(const isthmus_selection *job, const float *row, int above, int64_t first,
                   int64_t n) {
    vec u = load_part(row + first, n) + load_part(job->bias + first, n);
    if (above) return u - load_part(job->cutoff + first, n);
    if (job->mode == SELECT_TOP_MAGNITUDE) u = magnitude(u);
    return job->priority ? u * load_part(job->priority + first, n) : u;
}

INLINE int any(ivec a) {
    uint64_t word[LANES / 2];
    memcpy(word, &a, sizeof word);
    uint64_t all = 0;
    for (int i = 0; i < LANES / 2; i++) all |= word[i];
    return all != 0;
}

/* The keys of one row; for the largest also their maxima over `groups` strided groups. */
INLINE void read_row(const products_job *p, const float *row, int above, float *keys,
                     float *maxima) {
    const int64_t width = p->job->width, groups = p->groups;
    for (int64_t g = 0; g < groups; g++) maxima[g] = -INFINITY;
    int64_t g = 0, i = 0;
    for (; i + LANES <= width; i += LANES) {
        vec key = keys_at(p->job, row, above, i, LANES);
        store(keys + i, key);
        if (above || !groups) continue;
        store(maxima + g, larger(key, load(maxima + g)));
        g = g + LANES == groups ? 0 : g + LANES;
    }
    if (i < width) store(keys + i, keys_at(p->job, row, above, i, width - i));
    for (; i < width && !above && groups; i++, g++)
        if (keys[i] > maxima[g]) maxima[g] = keys[i];
}

static void products_task(void *argument, int64_t task, int slot) {
    const products_job *p = argument;
    const isthmus_selection *job = p->job;
    const int64_t width = job->width, d = job->d, padded = (width + LANES - 1) / LANES * LANES;
    const int above = job->mode == SELECT_ABOVE;
    float *keys = (float *)(p->scratch + slot * p->scratch_bytes);
    float *maxima = keys + padded, *score = maxima + p->groups, *scratch = score + padded;
    int32_t *latent = (int32_t *)(scratch + padded);
    int64_t stop = (task + 1) * ROW_TASK < job->rows ? (task + 1) * ROW_TASK : job->rows;
    for (int64_t n = task * ROW_TASK; n < stop; n++) {
        const float *row = p->products + n * width;
        above ? read_row(p, row, 1, keys, maxima) : read_row(p, row, 0, keys, maxima);
        float reach = above                ? 0.0f
                      : job->k < p->groups ? nearly_kth(maxima, p->groups, job->k, 16)
                                           : -INFINITY;
        candidates c = {score, scratch, latent, 0};
        vec limit = splat(reach);
        for (int64_t i = 0; i < width; i += LANES) {
            /* Not "less than": NaN is a candidate, so that it shows. */
            ivec in = ~(load(keys + i) < limit);
            if (i + LANES <= width && !any(in)) continue;
            for (int64_t l = 0; l < LANES && i + l < width; l++) {
                latent[c.count] = (int32_t)(i + l);
                c.count += in[l] != 0;
            }
        }
        /* A product's last bits depend on how many rows were multiplied. */
        recompute(job, n, &c);
        write_row(job, n, &c);
    }
}

void LEVEL(select_products)(const isthmus_selection *job, const float *products) {
    int64_t groups = 4 * job->k > 128 ? 4 * job->k : 128;
    groups = (groups + LANES - 1) / LANES * LANES;
    while (groups > job->width) groups = groups > LANES ? groups / 2 / LANES * LANES : 0;
    int64_t bytes = ((job->width + LANES) * 4 + groups) * (int64_t)sizeof(float);
    bytes = (bytes + 127) / 64 * 64;
    const int threads = job->threads > 1 ? job->threads : 1;
    char *scratch = aligned_alloc(64, (size_t)(bytes * threads));
    products_job p = {.job = job, .products = products, .scratch = scratch,
                      .scratch_bytes = bytes, .groups = groups};
    run_tasks(products_task, &p, (job->rows + ROW_TASK - 1) / ROW_TASK, threads);
    free(scratch);
}
