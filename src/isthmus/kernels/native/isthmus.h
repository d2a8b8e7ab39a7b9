/* The native kernels of isthmus: a plain C interface, loaded with ctypes.
 *
 * All matrices are row-major and contiguous. float is 32 bits, indices are int64_t, `rows` are
 * examples, `width` latents, `d` elements of an example. No function allocates anything that
 * outlives it, none reads an environment variable, and none depends on the number of threads for
 * its result: work is cut by shape, and each piece is summed in a fixed order.
 */
#ifndef ISTHMUS_H
#define ISTHMUS_H

#include <stdint.h>

#define ISTHMUS_ABI 4

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* What is selected: the k largest, the k largest by magnitude, or all above a cutoff. */
enum { SELECT_TOP = 0, SELECT_TOP_MAGNITUDE = 1, SELECT_ABOVE = 2 };

typedef struct {
    const float *x;        /* (rows, d) */
    const float *weight;   /* (width, d) */
    const float *bias;     /* (width) */
    const float *cutoff;   /* (width): SELECT_ABOVE keeps u > cutoff; else NULL */
    const float *priority; /* (width): what is compared is u * priority; NULL for 1; must be > 0 */
    int64_t rows, width, d;
    int64_t k;             /* how many of each row; for SELECT_ABOVE the room for each row */
    int32_t mode;
    int32_t threads;
    float *values;         /* (rows, k) out: u = <x, weight> + bias of what was selected */
    int64_t *indices;      /* (rows, k) out, ascending within a row; unused places: index 0, */
    int32_t *counts;       /* (rows) out: places used; -1 where a row did not fit */
} isthmus_selection;

typedef struct {
    const float *values;    /* (rows, k) coefficients; zero entries are skipped */
    const int64_t *order;   /* entries sorted by latent, as isthmus_by_latent gave them */
    const int64_t *offsets; /* (width + 1) */
    const float *dense;     /* (rows, d) */
    int64_t k;
} isthmus_factor;

typedef struct {
    float *weight, *mean, *square;  /* (width, d): parameters and Adam's moments */
    const float *gradient;          /* (width, d) added to the factors, or NULL */
    const isthmus_factor *factors;  /* sum over factors of values^T dense */
    const int64_t *extra_place;     /* (width): row of `extra` for each latent, or -1; or NULL */
    const float *extra;             /* (some, d) added to the rows it names */
    int64_t factor_count, width, d;
    double lr, beta1, beta2, eps, correction1, correction2; /* corrections: 1 - beta^t */
    double weight_decay;            /* added to the gradient, as in Adam */
    int32_t unit;                   /* project the gradient, then keep rows at norm 1 */
    int32_t threads;
} isthmus_row_update;

EXPORT int32_t isthmus_abi(void);
/* 0 portable, 1 AVX2 with FMA, 2 AVX-512, 3 AVX-512 with VNNI, 4 AMX with int8. */
EXPORT int32_t isthmus_best_level(void);
/* Use at most this level (for tests); returns the level in use. */
EXPORT int32_t isthmus_set_level(int32_t level);

/* Bytes of the int8 copy of a weight matrix that isthmus_pack writes. */
EXPORT int64_t isthmus_packed_bytes(int64_t width, int64_t d);
/* The int8 copy, and for each latent its step, its norm and how much its rounding may move a product
 * with an example of length 1. Needs level 3. */
EXPORT void isthmus_pack(const float *weight, int64_t width, int64_t d, uint8_t *packed,
                         float *step, float *norm, float *rounding, int32_t threads);
/* Select by int8 products, then compute what was selected in float32. Needs level 3, and d at most
 * 131072, for the products are summed in 32 bits. Returns the number of rows that had to be computed
 * in full. */
EXPORT int64_t isthmus_select_int8(const isthmus_selection *job, const uint8_t *packed,
                                   const float *step, const float *norm, const float *rounding);
/* Select from given products (job->rows, width) without bias. */
EXPORT void isthmus_select_products(const isthmus_selection *job, const float *products);

/* out[n] = sum_j values[n, j] atoms[indices[n, j]]. */
EXPORT void isthmus_decode(const float *values, const int64_t *indices, const float *atoms,
                           int64_t rows, int64_t k, int64_t d, float *out, int32_t threads);
/* error[n] = bias + sum_j values[n, j] atoms[indices[n, j]] - target[n], its squared length, and
 * products[n, j] = <error[n], atoms[indices[n, j]]>, in one visit to each atom. */
EXPORT void isthmus_decode_error(const float *values, const int64_t *indices, const float *atoms,
                                 const float *bias, const float *target, int64_t rows, int64_t k,
                                 int64_t d, float *error, float *squares, float *products,
                                 int32_t threads);
/* out[n, j] = <gradient[n], atoms[indices[n, j]]>. */
EXPORT void isthmus_at_places(const float *gradient, const int64_t *indices, const float *atoms,
                              int64_t rows, int64_t k, int64_t d, float *out, int32_t threads);
/* Sort the entries of (rows, k) whose value is not zero by latent, stable. order holds entry
 * numbers (rows * k long), offsets (width + 1). */
EXPORT void isthmus_by_latent(const float *values, const int64_t *indices, int64_t rows, int64_t k,
                              int64_t width, int64_t *order, int64_t *offsets);
/* Dense gradient (width, d) of the factors in `update` (its `weight` and moments are unused). */
EXPORT void isthmus_row_gradient(const isthmus_row_update *update, float *out);
/* Gradient, projection, Adam and normalisation in one pass over the rows. */
EXPORT void isthmus_row_adam(const isthmus_row_update *update);
/* sums[latent] += values: (width) in float64, in the order of the entries. */
EXPORT void isthmus_sum_by_latent(const float *values, const int64_t *indices, int64_t entries,
                                  double *sums);

#endif
