/* Products with few active latents, and the update of a dictionary's rows.
 *
 * Compiled once for each instruction level; LEVEL(name) gives each its own symbols.
 */
#include "level.h"
#include "parallel.h"
#include "vector.h"

#define ROW_TASK 64    /* examples of one task */
#define LATENT_TASK 32 /* latents of one task */
#define STRIPE 8       /* vectors that a weighted sum keeps in registers */

/* out = start + sum_e coefficient[e] * row[e], e over `count` entries. */
typedef struct {
    const float *row;
    float coefficient;
} weighted;

INLINE void weighted_sum(float *out, const weighted *terms, int64_t count, int64_t d) {
    int64_t i = 0;
    for (; i + STRIPE * LANES <= d; i += STRIPE * LANES) {
        vec s[STRIPE];
        for (int v = 0; v < STRIPE; v++) s[v] = load(out + i + v * LANES);
        for (int64_t e = 0; e < count; e++) {
            const float *row = terms[e].row + i;
            vec c = splat(terms[e].coefficient);
            for (int v = 0; v < STRIPE; v++) s[v] += c * load(row + v * LANES);
        }
        for (int v = 0; v < STRIPE; v++) store(out + i + v * LANES, s[v]);
    }
    for (; i < d; i += LANES) {
        int64_t n = d - i < LANES ? d - i : LANES;
        vec s = load_part(out + i, n);
        for (int64_t e = 0; e < count; e++)
            s += splat(terms[e].coefficient) * load_part(terms[e].row + i, n);
        store_part(out + i, s, n);
    }
}

#define BATCH 64 /* terms collected before they are summed */

typedef struct {
    const float *values, *atoms, *bias, *gradient; /* bias: NULL for none */
    const int64_t *indices;
    int64_t rows, k, d;
    float *out;
} row_job;

static void decode_task(void *argument, int64_t task, int slot) {
    (void)slot;
    const row_job *job = argument;
    const int64_t d = job->d, k = job->k;
    int64_t stop = (task + 1) * ROW_TASK < job->rows ? (task + 1) * ROW_TASK : job->rows;
    for (int64_t n = task * ROW_TASK; n < stop; n++) {
        weighted terms[BATCH];
        int64_t count = 0;
        float *out = job->out + n * d;
        if (job->bias)
            memcpy(out, job->bias, (size_t)d * sizeof(float));
        else
            memset(out, 0, (size_t)d * sizeof(float));
        for (int64_t j = 0; j < k; j++) {
            float value = job->values[n * k + j];
            if (value == 0.0f) continue;
            const float *row = job->atoms + job->indices[n * k + j] * d;
            terms[count++] = (weighted){row, value};
            if (count == BATCH) {
                weighted_sum(out, terms, count, d);
                count = 0;
            }
        }
        weighted_sum(out, terms, count, d);
    }
}

void LEVEL(decode)(const float *values, const int64_t *indices, const float *atoms, int64_t rows,
                   int64_t k, int64_t d, float *out, int32_t threads) {
    row_job job = {.values = values, .indices = indices, .atoms = atoms, .rows = rows, .k = k,
                   .d = d, .out = out};
    run_tasks(decode_task, &job, (rows + ROW_TASK - 1) / ROW_TASK, threads);
}

typedef struct {
    row_job base;
    const float *target;
    float *squares, *products;
} error_job;

static void error_task(void *argument, int64_t task, int slot) {
    const error_job *job = argument;
    const row_job *base = &job->base;
    const int64_t d = base->d, k = base->k;
    row_job one = *base;
    int64_t stop = (task + 1) * ROW_TASK < base->rows ? (task + 1) * ROW_TASK : base->rows;
    for (int64_t n = task * ROW_TASK; n < stop; n++) {
        one.values = base->values + n * k;
        one.indices = base->indices + n * k;
        one.out = base->out + n * d;
        one.rows = 1;
        decode_task(&one, 0, slot);
        float *error = one.out;
        const float *target = job->target + n * d;
        for (int64_t i = 0; i < d; i++) error[i] -= target[i];
        job->squares[n] = dot(error, error, d);
        for (int64_t j = 0; j < k; j++)
            job->products[n * k + j] = dot(error, base->atoms + one.indices[j] * d, d);
    }
}

void LEVEL(decode_error)(const float *values, const int64_t *indices, const float *atoms,
                         const float *bias, const float *target, int64_t rows, int64_t k,
                         int64_t d, float *error, float *squares, float *products,
                         int32_t threads) {
    error_job job = {{.values = values, .indices = indices, .atoms = atoms, .bias = bias,
                      .rows = rows, .k = k, .d = d, .out = error},
                     target, squares, products};
    run_tasks(error_task, &job, (rows + ROW_TASK - 1) / ROW_TASK, threads);
}

static void places_task(void *argument, int64_t task, int slot) {
    (void)slot;
    const row_job *job = argument;
    const int64_t d = job->d, k = job->k;
    int64_t stop = (task + 1) * ROW_TASK < job->rows ? (task + 1) * ROW_TASK : job->rows;
    for (int64_t n = task * ROW_TASK; n < stop; n++) {
        const float *gradient = job->gradient + n * d;
        for (int64_t j = 0; j < k; j++) {
            int64_t e = n * k + j;
            if (j + 2 < k) fetch_row(job->atoms + job->indices[e + 2] * d, d);
            job->out[e] = dot(gradient, job->atoms + job->indices[e] * d, d);
        }
    }
}

void LEVEL(at_places)(const float *gradient, const int64_t *indices, const float *atoms,
                      int64_t rows, int64_t k, int64_t d, float *out, int32_t threads) {
    row_job job = {.gradient = gradient, .indices = indices, .atoms = atoms, .rows = rows,
                   .k = k, .d = d, .out = out};
    run_tasks(places_task, &job, (rows + ROW_TASK - 1) / ROW_TASK, threads);
}

typedef struct {
    const isthmus_row_update *update;
    float *out; /* the dense gradient, or NULL to update */
    float *scratch;
} update_job;

/* The gradient of one latent's row, into `g`. */
static void row_gradient(const isthmus_row_update *u, int64_t latent, float *g) {
    const int64_t d = u->d;
    if (u->gradient)
        memcpy(g, u->gradient + latent * d, (size_t)d * sizeof(float));
    else
        memset(g, 0, (size_t)d * sizeof(float));
    if (u->extra_place && u->extra_place[latent] >= 0) {
        const float *extra = u->extra + u->extra_place[latent] * d;
        for (int64_t i = 0; i < d; i++) g[i] += extra[i];
    }
    weighted terms[BATCH];
    for (int64_t f = 0; f < u->factor_count; f++) {
        const isthmus_factor *factor = &u->factors[f];
        int64_t count = 0;
        for (int64_t e = factor->offsets[latent]; e < factor->offsets[latent + 1]; e++) {
            int64_t entry = factor->order[e];
            float value = factor->values[entry];
            if (value == 0.0f) continue;
            const float *row = factor->dense + entry / factor->k * d;
            terms[count++] = (weighted){row, value};
            if (count == BATCH) {
                weighted_sum(g, terms, count, d);
                count = 0;
            }
        }
        weighted_sum(g, terms, count, d);
    }
}

/* One step of Adam (Kingma, Ba 2015) on one row, in PyTorch's order of operations. */
static void adam_row(const isthmus_row_update *u, int64_t latent, float *g) {
    const int64_t d = u->d;
    float *w = u->weight + latent * d, *m = u->mean + latent * d, *s = u->square + latent * d;
    if (u->unit) {
        float along = dot(g, w, d);
        for (int64_t i = 0; i < d; i++) g[i] -= along * w[i];
    }
    const vec b1 = splat((float)(1.0 - u->beta1));
    const vec b2 = splat((float)u->beta2), c2 = splat((float)(1.0 - u->beta2));
    const vec eps = splat((float)u->eps), step = splat((float)(u->lr / u->correction1));
    const float root = (float)sqrt(u->correction2);
    const vec decay = splat((float)u->weight_decay);
    vec norm = {0};
    for (int64_t i = 0; i < d; i += LANES) {
        int64_t n = d - i < LANES ? d - i : LANES;
        int whole = n == LANES;
        vec gv = whole ? load(g + i) : load_part(g + i, n);
        vec wv = whole ? load(w + i) : load_part(w + i, n);
        vec mv = whole ? load(m + i) : load_part(m + i, n);
        vec sv = whole ? load(s + i) : load_part(s + i, n);
        gv += decay * wv;
        mv += b1 * (gv - mv);
        sv = b2 * sv + c2 * gv * gv;
        vec under;
        for (int l = 0; l < LANES; l++) under[l] = sqrtf(sv[l]);
        wv -= step * mv / (under / root + eps);
        norm += wv * wv;
        if (whole) {
            store(w + i, wv);
            store(m + i, mv);
            store(s + i, sv);
        } else {
            store_part(w + i, wv, n);
            store_part(m + i, mv, n);
            store_part(s + i, sv, n);
        }
    }
    if (u->unit) {
        float length = sqrtf(sum(norm));
        float inverse = 1.0f / (length > 1e-12f ? length : 1e-12f);
        for (int64_t i = 0; i < d; i++) w[i] *= inverse;
    }
}

static void update_task(void *argument, int64_t task, int slot) {
    const update_job *job = argument;
    const isthmus_row_update *u = job->update;
    int64_t stop = (task + 1) * LATENT_TASK < u->width ? (task + 1) * LATENT_TASK : u->width;
    for (int64_t latent = task * LATENT_TASK; latent < stop; latent++) {
        if (job->out) {
            row_gradient(u, latent, job->out + latent * u->d);
        } else {
            float *g = job->scratch + slot * u->d;
            row_gradient(u, latent, g);
            adam_row(u, latent, g);
        }
    }
}

void LEVEL(row_update)(const isthmus_row_update *update, float *out, float *scratch) {
    update_job job = {update, out, scratch};
    run_tasks(update_task, &job, (update->width + LATENT_TASK - 1) / LATENT_TASK,
              update->threads);
}
