/* From candidates to the exact selection of one example. */
#ifndef ISTHMUS_CANDIDATES_H
#define ISTHMUS_CANDIDATES_H

#include "isthmus.h"
#include "vector.h"

typedef struct {
    float *score, *scratch;
    int32_t *latent; /* ascending */
    int64_t count;
} candidates;

INLINE int64_t count_from(const float *values, int64_t n, float bound) {
    ivec total = {0};
    int64_t i = 0;
    vec limit = splat(bound);
    for (; i + LANES <= n; i += LANES) total -= load(values + i) >= limit;
    int64_t result = 0;
    for (int l = 0; l < LANES; l++) result += total[l];
    for (; i < n; i++) result += values[i] >= bound;
    return result;
}

/* A number that at least k of the values reach, close to the largest such number. */
INLINE float nearly_kth(const float *values, int64_t n, int64_t k, int rounds) {
    float low = values[0], high = values[0];
    for (int64_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    for (int round = 0; round < rounds; round++) {
        float middle = low + 0.5f * (high - low);
        if (!(middle > low && middle < high)) break;
        int64_t reach = count_from(values, n, middle);
        if (reach >= k) low = middle;
        else high = middle;
        if (reach == k) break;
    }
    return low;
}

/* The k-th largest of n keys; destroys their order (Hoare's selection). */
INLINE float exact_kth(float *keys, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1, place = k - 1;
    while (low < high) {
        float pivot = keys[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (keys[i] > pivot) i++;
            while (keys[j] < pivot) j--;
            if (i <= j) {
                float swap = keys[i];
                keys[i++] = keys[j];
                keys[j--] = swap;
            }
        }
        if (place <= j) high = j;
        else if (place >= i) low = i;
        else break;
    }
    return keys[place];
}

/* NaN is the largest, so that it shows. */
INLINE float key_of(const isthmus_selection *job, int32_t latent, float u) {
    if (isnan(u)) return INFINITY;
    if (job->mode == SELECT_ABOVE) return u - job->cutoff[latent];
    float key = job->mode == SELECT_TOP_MAGNITUDE ? fabsf(u) : u;
    return job->priority ? key * job->priority[latent] : key;
}

/* Write row n of the result from candidates whose scores are now the true u, not keys. */
INLINE void write_row(const isthmus_selection *job, int64_t n, candidates *c) {
    const int64_t k = job->k;
    float *values = job->values + n * k;
    int64_t *indices = job->indices + n * k, used = 0;
    if (job->mode == SELECT_ABOVE) {
        for (int64_t i = 0; i < c->count; i++) {
            if (c->score[i] <= job->cutoff[c->latent[i]]) continue; /* NaN stays */
            if (used == k) {
                used = -1;
                break;
            }
            values[used] = c->score[i];
            indices[used++] = c->latent[i];
        }
    } else {
        float bound = -INFINITY;
        int64_t ties = k;
        if (c->count > k) {
            for (int64_t i = 0; i < c->count; i++)
                c->scratch[i] = key_of(job, c->latent[i], c->score[i]);
            bound = exact_kth(c->scratch, c->count, k);
            int64_t beyond = 0;
            for (int64_t i = 0; i < c->count; i++)
                beyond += key_of(job, c->latent[i], c->score[i]) > bound;
            ties = k - beyond;
        }
        for (int64_t i = 0; i < c->count && used < k; i++) {
            float key = key_of(job, c->latent[i], c->score[i]);
            if (key < bound) continue;
            if (key == bound && c->count > k && ties-- <= 0) continue;
            values[used] = c->score[i];
            indices[used++] = c->latent[i];
        }
    }
    job->counts[n] = (int32_t)used;
    for (int64_t j = used < 0 ? 0 : used; j < k; j++) {
        values[j] = 0.0f;
        indices[j] = 0;
    }
}

/* Compute the candidates' true pre-activations. */
INLINE void recompute(const isthmus_selection *job, int64_t n, candidates *c) {
    const int64_t d = job->d;
    const float *x = job->x + n * d;
    for (int64_t i = 0; i < c->count && i < 3; i++)
        fetch_row(job->weight + (int64_t)c->latent[i] * d, d);
    for (int64_t i = 0; i < c->count; i++) {
        if (i + 3 < c->count) fetch_row(job->weight + (int64_t)c->latent[i + 3] * d, d);
        int64_t latent = c->latent[i];
        c->score[i] = dot(x, job->weight + latent * d, d) + job->bias[latent];
    }
}

#endif
