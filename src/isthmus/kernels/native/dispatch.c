/* Which instruction level serves, and the functions that do not depend on it. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>

#include "level.h"

#if defined(__x86_64__) && defined(ISTHMUS_X86)
#define X86 1
#endif

#if defined(X86) && defined(__linux__) && defined(ISTHMUS_TILES)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQUEST_PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18              /* XFEATURE_XTILEDATA */

/* Whether there are tiles, and the system lets this process have their registers. */
static int find_tiles(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (!(d & 1u << 24) || !(d & 1u << 25)) return 0; /* AMX-TILE, AMX-INT8 */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#else
static int find_tiles(void) { return 0; }
#endif

static int32_t find_level(void) {
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return !__builtin_cpu_supports("avx512vnni") ? 2 : find_tiles() ? 4 : 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

static atomic_int chosen = -1;

int32_t isthmus_abi(void) { return ISTHMUS_ABI; }

int32_t isthmus_best_level(void) { return find_level(); }

static int32_t level(void) {
    int now = atomic_load(&chosen);
    if (now < 0) atomic_store(&chosen, now = find_level());
    return now;
}

int isthmus_has_tiles(void) { return level() >= 4; }

int32_t isthmus_set_level(int32_t wanted) {
    int32_t best = find_level();
    atomic_store(&chosen, wanted < 0 || wanted > best ? best : wanted);
    return level();
}

#ifdef X86
#define CALL(name, ...)                                              \
    (level() >= 2   ? isthmus_##name##_avx512(__VA_ARGS__)           \
     : level() == 1 ? isthmus_##name##_avx2(__VA_ARGS__)             \
                    : isthmus_##name##_portable(__VA_ARGS__))
#else
#define CALL(name, ...) isthmus_##name##_portable(__VA_ARGS__)
int64_t isthmus_packed_bytes(int64_t width, int64_t d) { return (void)width, (void)d, 0; }
void isthmus_pack(const float *w, int64_t width, int64_t d, uint8_t *p, float *s, float *n,
                  float *r, int32_t t) {
    (void)w, (void)width, (void)d, (void)p, (void)s, (void)n, (void)r, (void)t;
}
int64_t isthmus_select_int8(const isthmus_selection *j, const uint8_t *p, const float *s,
                            const float *n, const float *r) {
    (void)j, (void)p, (void)s, (void)n, (void)r;
    return -1;
}
#endif

void isthmus_select_products(const isthmus_selection *job, const float *products) {
    CALL(select_products, job, products);
}

void isthmus_decode(const float *values, const int64_t *indices, const float *atoms, int64_t rows,
                    int64_t k, int64_t d, float *out, int32_t threads) {
    CALL(decode, values, indices, atoms, rows, k, d, out, threads);
}

void isthmus_decode_error(const float *values, const int64_t *indices, const float *atoms,
                          const float *bias, const float *target, int64_t rows, int64_t k,
                          int64_t d, float *error, float *squares, float *products,
                          int32_t threads) {
    CALL(decode_error, values, indices, atoms, bias, target, rows, k, d, error, squares, products,
         threads);
}

void isthmus_at_places(const float *gradient, const int64_t *indices, const float *atoms,
                       int64_t rows, int64_t k, int64_t d, float *out, int32_t threads) {
    CALL(at_places, gradient, indices, atoms, rows, k, d, out, threads);
}

void isthmus_row_gradient(const isthmus_row_update *update, float *out) {
    CALL(row_update, update, out, NULL);
}

void isthmus_row_adam(const isthmus_row_update *update) {
    int64_t slots = update->threads > 1 ? update->threads : 1;
    float *scratch = malloc((size_t)(slots * update->d) * sizeof(float));
    CALL(row_update, update, NULL, scratch);
    free(scratch);
}

void isthmus_by_latent(const float *values, const int64_t *indices, int64_t rows, int64_t k,
                       int64_t width, int64_t *order, int64_t *offsets) {
    for (int64_t i = 0; i <= width; i++) offsets[i] = 0;
    for (int64_t e = 0; e < rows * k; e++)
        if (values[e] != 0.0f) offsets[indices[e] + 1]++;
    for (int64_t i = 0; i < width; i++) offsets[i + 1] += offsets[i];
    int64_t *place = malloc((size_t)width * sizeof(int64_t));
    for (int64_t i = 0; i < width; i++) place[i] = offsets[i];
    for (int64_t e = 0; e < rows * k; e++)
        if (values[e] != 0.0f) order[place[indices[e]]++] = e;
    free(place);
}

void isthmus_sum_by_latent(const float *values, const int64_t *indices, int64_t entries,
                           double *sums) {
    for (int64_t e = 0; e < entries; e++) sums[indices[e]] += values[e];
}
