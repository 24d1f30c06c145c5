/* Passes over the rows of a layer, each number read once: what torch does in some ten operations.
 *
 * Rows are of `dim` floats; a call does rows `start` to `stop` and columns `from` to `to`, WIDE at a time, so that
 * sums stay in the nearest cache. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define WIDE 256
#define ROW(array, row, width) ((array) + (size_t)(row) * (width) + k)
#define COLUMNS for (int64_t k = from; k < to; k += WIDE)
#define WIDTH ((int)(to - k < WIDE ? to - k : WIDE))
#define EACH for (int c = 0; c < width; c++)

/* With exp by its series about the nearest power of two (Cody & Waite 1980), to 1e-7; NaN stays NaN */
static inline float sigmoid(float x) {
    float y = x < -87.0f ? 87.0f : x > 87.0f ? -87.0f : -x;
    float n = rintf(y * 1.44269504f);
    float r = fmaf(n, -0.693359375f, y);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p * r, r, r + 1.0f);
    union { int32_t bits; float value; } two = {((int32_t)n + 127) << 23};
    return 1.0f / (1.0f + p * two.value);
}

/* Gates and gated sums over the edges into each node, one of the rows; `m` is e before and e + a_i + b_j after. */
void gated(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, const int64_t *restrict first,
           const int64_t *restrict source, const float *restrict count, const float *restrict ends,
           float *restrict m, float *restrict message, float *restrict gates, float *restrict total) {
    COLUMNS {
        const int width = WIDTH;
        for (int64_t i = start; i < stop; i++) {
            float gate_sum[WIDE] = {0}, sum[WIDE] = {0};
            const float *own = ROW(ends, i, 4 * dim), *a = own + dim;
            for (int64_t e = first[i]; e < first[i + 1]; e++) {
                const float *b = ROW(ends, source[e], 4 * dim) + 2 * dim, *v = b + dim, times = count[e];
                float *restrict here = ROW(m, e, dim);
                EACH {
                    const float value = here[c] + a[c] + b[c], gate = times * sigmoid(value);
                    here[c] = value;
                    gate_sum[c] += gate;
                    sum[c] += gate * v[c];
                }
            }
            float *restrict g = ROW(gates, i, dim), *restrict h = ROW(message, i, dim), *restrict t = ROW(total, i, dim);
            EACH {
                g[c] = gate_sum[c] + 1e-6f;
                h[c] = sum[c] / g[c];
                t[c] = own[c] + h[c];
            }
        }
    }
}

/* Its derivative, of all rows, for edges come from any of them; `dends` is zero before, `dnext` is that of m by what else reads it, or null. */
void gated_derivative(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, const int64_t *restrict first,
                      const int64_t *restrict source, const float *restrict count, const float *restrict ends,
                      const float *restrict m, const float *restrict message, const float *restrict gates,
                      const float *restrict dtotal, const float *restrict dnext, float *restrict dm,
                      float *restrict dends) {
    COLUMNS {
        const int width = WIDTH;
        for (int64_t i = start; i < stop; i++) {
            float sum[WIDE], gate[WIDE], target[WIDE] = {0};
            const float *d = ROW(dtotal, i, dim), *h = ROW(message, i, dim), *g = ROW(gates, i, dim);
            EACH {
                sum[c] = d[c] / g[c];
                gate[c] = -sum[c] * h[c];
            }
            for (int64_t e = first[i]; e < first[i + 1]; e++) {
                const float *v = ROW(ends, source[e], 4 * dim) + 3 * dim, *here = ROW(m, e, dim), times = count[e];
                const float *next = dnext ? ROW(dnext, e, dim) : NULL;
                float *restrict out = ROW(dm, e, dim), *b = ROW(dends, source[e], 4 * dim) + 2 * dim;
                float slope[WIDE];
                EACH {
                    const float s = sigmoid(here[c]);
                    slope[c] = times * (sum[c] * v[c] + gate[c]) * s * (1.0f - s);
                    b[dim + c] += times * s * sum[c];
                }
                if (next) EACH slope[c] += next[c];
                EACH {
                    out[c] = slope[c];
                    target[c] += slope[c];
                    b[c] += slope[c];
                }
            }
            float *own = ROW(dends, i, 4 * dim);
            EACH {
                own[c] += d[c];
                own[dim + c] += target[c];
            }
        }
    }
}

/* Sums of share * x and share * x * x over the rows, in double precision. */
void moments(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, const float *restrict x,
             const float *restrict share, double *restrict first, double *restrict second) {
    COLUMNS {
        const int width = WIDTH;
        double one[WIDE] = {0}, two[WIDE] = {0};
        for (int64_t r = start; r < stop; r++) {
            const float *here = ROW(x, r, dim);
            const double weight = share[r];
            EACH {
                const double value = here[c], part = weight * value;
                one[c] += part;
                two[c] += part * value;
            }
        }
        EACH {
            first[k + c] = one[c];
            second[k + c] = two[c];
        }
    }
}

/* y = residual + act(scale * x + shift); act is SiLU or nothing, residual may be null. */
void affine(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
            const float *restrict residual, const float *restrict scale, const float *restrict shift,
            float *restrict y) {
    COLUMNS {
        const int width = WIDTH;
        const float *s = scale + k, *b = shift + k;
        for (int64_t r = start; r < stop; r++) {
            const float *here = ROW(x, r, dim);
            float *restrict out = ROW(y, r, dim);
            if (silu) EACH {
                const float value = fmaf(here[c], s[c], b[c]);
                out[c] = value * sigmoid(value);
            }
            else EACH out[c] = fmaf(here[c], s[c], b[c]);
            if (residual) {
                const float *more = ROW(residual, r, dim);
                EACH out[c] += more[c];
            }
        }
    }
}

static inline float slope_of(int64_t silu, float x, float scale, float shift, float dy) {
    if (!silu) return dy;
    const float value = fmaf(x, scale, shift), s = sigmoid(value);
    return dy * s * (1.0f + value * (1.0f - s));
}

/* Sums over the rows of the derivative by the normalised x, and of that times the normalised x. */
void affine_sums(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
                 const float *restrict dy, const float *restrict scale, const float *restrict shift,
                 const float *restrict mean, double *restrict sums, double *restrict products) {
    COLUMNS {
        const int width = WIDTH;
        const float *s = scale + k, *b = shift + k, *centre = mean + k;
        double one[WIDE] = {0}, two[WIDE] = {0};
        for (int64_t r = start; r < stop;) {
            /* few enough for single precision */
            const int64_t end = r + 32 < stop ? r + 32 : stop;
            float some[WIDE] = {0}, more[WIDE] = {0};
            for (; r < end; r++) {
                const float *here = ROW(x, r, dim), *d = ROW(dy, r, dim);
                EACH {
                    const float slope = slope_of(silu, here[c], s[c], b[c], d[c]);
                    some[c] += slope;
                    more[c] += slope * (here[c] - centre[c]);
                }
            }
            EACH {
                one[c] += some[c];
                two[c] += more[c];
            }
        }
        EACH {
            sums[k + c] = one[c];
            products[k + c] = two[c];
        }
    }
}

/* dx = scale * slope - share * (by_x * x + constant) */
void affine_derivative(int64_t dim, int64_t from, int64_t to, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
                       const float *restrict dy, const float *restrict scale, const float *restrict shift,
                       const float *restrict share, const float *restrict by_x, const float *restrict constant,
                       float *restrict dx) {
    COLUMNS {
        const int width = WIDTH;
        const float *s = scale + k, *b = shift + k, *by = by_x + k, *plus = constant + k;
        for (int64_t r = start; r < stop; r++) {
            const float *here = ROW(x, r, dim), *d = ROW(dy, r, dim), part = share[r];
            float *restrict out = ROW(dx, r, dim);
            EACH {
                const float slope = slope_of(silu, here[c], s[c], b[c], d[c]);
                out[c] = s[c] * slope - part * fmaf(by[c], here[c], plus[c]);
            }
        }
    }
}
