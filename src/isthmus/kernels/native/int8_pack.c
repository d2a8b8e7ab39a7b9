/* Weights rounded to 8 bits, in the order in which their products are taken. */
#include "int8.h"
#include "parallel.h"

int64_t isthmus_packed_bytes(int64_t width, int64_t d) {
    return panels_of(width) * PANEL * quads_of(d) * 4;
}

typedef struct {
    const float *weight;
    int64_t width, d;
    uint8_t *packed;
    float *step, *norm, *rounding;
} pack_job;

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
        for (int64_t q = (d + 3) / 4; q < quads; q++) memset(out + (q * PANEL + l) * 4, 128, 4);
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
