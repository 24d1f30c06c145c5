/* Passes over the rows of a layer, each number read once, some with their matrix products: what torch does in ten operations.
 *
 * Rows are of `dim` floats; a call does rows `start` to `stop`, WIDE columns at a time, so that sums stay in the
 * nearest cache. */

#if defined(__AVX512F__) && !defined(__clang__)
/* GCC takes half of a register otherwise, for processors that slowed down when they used all of it. */
#pragma GCC target("prefer-vector-width=512")
#endif

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Compiled for one width, loops over it are of a known length. */
#ifdef DIM
#define KNOWN dim = DIM;
#else
#define KNOWN
#endif

#define WIDE 256
#define ROW(array, row, width) ((array) + (size_t)(row) * (width) + k)
#define COLUMNS for (int64_t k = 0; k < dim; k += WIDE)
#define WIDTH ((int)(dim - k < WIDE ? dim - k : WIDE))
#define EACH for (int c = 0; c < width; c++)

/* As wide as registers are; a tile of a product, TALL rows of two vectors, leaves some free for what it reads. */
#if defined(__AVX512F__)
#define LANES 16
#define TALL 8
#elif defined(__AVX__)
#define LANES 8
#define TALL 4
#else
#define LANES 4
#define TALL 4
#endif
#define PANEL (2 * LANES)
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float quarter __attribute__((vector_size(16)));

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

static inline float slope_of(int64_t silu, float x, float scale, float shift, float dy) {
    if (!silu) return dy;
    const float value = fmaf(x, scale, shift), s = sigmoid(value);
    return dy * s * (1.0f + value * (1.0f - s));
}

static inline float across(vector x) {
    union { vector all; quarter parts[LANES / 4]; } of = {x};
    quarter sum = of.parts[0];
    for (int i = 1; i < LANES / 4; i++) sum += of.parts[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Mean of a row and inverse of its standard deviation, from sums about its first number: no other is further from the
 * mean than some standard deviations, so that few digits are lost. */
static inline void standard(int64_t dim, const float *x, float eps, float *mean, float *inverse) {
    const float first = x[0];
    vector sum = {0}, squares = {0};
    for (int64_t c = 0; c < dim; c += LANES) {
        const vector off = *(const vector *)(x + c) - first;
        sum += off;
        squares += off * off;
    }
    const float off = across(sum) / dim, variance = across(squares) / dim - off * off;
    *mean = first + off;
    *inverse = 1.0f / sqrtf((variance > 0.0f ? variance : 0.0f) + eps);
}

/* y = residual + SiLU(gain N(x) + bias) for one row, which has at most WIDE numbers; residual may be null. */
static inline void normalised_row(int64_t dim, const float *x, const float *residual, const float *gain,
                                  const float *bias, float eps, float *restrict y) {
    float mean, inverse;
    standard(dim, x, eps, &mean, &inverse);
    for (int c = 0; c < dim; c++) {
        const float value = fmaf((x[c] - mean) * inverse, gain[c], bias[c]);
        y[c] = value * sigmoid(value);
    }
    if (residual) for (int c = 0; c < dim; c++) y[c] += residual[c];
}

/* Its derivative by x, added to dx; those by bias and gain are added to `some` and `more`. */
static inline void normalised_row_derivative(int64_t dim, const float *x, const float *dy, const float *gain,
                                             const float *bias, float eps, float *restrict some, float *restrict more,
                                             float *restrict dx) {
    float mean, inverse, normal[WIDE], slope[WIDE];
    standard(dim, x, eps, &mean, &inverse);
    for (int c = 0; c < dim; c++) {
        const float own = (x[c] - mean) * inverse, d = slope_of(1, own, gain[c], bias[c], dy[c]);
        some[c] += d;
        more[c] += d * own;
        normal[c] = own;
        slope[c] = d * gain[c];
    }
    vector one = {0}, two = {0};
    for (int64_t c = 0; c < dim; c += LANES) {
        const vector part = *(const vector *)(slope + c);
        one += part;
        two += part * *(const vector *)(normal + c);
    }
    const float shift = across(one) / dim, along = across(two) / dim;
    for (int c = 0; c < dim; c++) dx[c] += inverse * (slope[c] - shift - normal[c] * along);
}

/* out = start + a b for ROWS rows and PANEL columns. Of a, row i and number p is at i * row + p * step; rows of b are
 * `width` apart, those of out `dim`, those of start, which may be null, `next`. */
#define TILE(NAME, ROWS) \
static inline void NAME(int64_t inner, const float *a, int64_t row, int64_t step, const float *b, int64_t width, \
                        const float *start, int64_t next, float *out, int64_t dim) { \
    vector sum[ROWS][2]; \
    _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++) { \
        sum[i][0] = start ? *(const vector *)(start + i * next) : (vector){0}; \
        sum[i][1] = start ? *(const vector *)(start + i * next + LANES) : (vector){0}; \
    } \
    for (int64_t p = 0; p < inner; p++) { \
        const vector left = *(const vector *)(b + p * width), right = *(const vector *)(b + p * width + LANES); \
        _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++) { \
            const float value = a[i * row + p * step]; \
            sum[i][0] += value * left; \
            sum[i][1] += value * right; \
        } \
    } \
    _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++) { \
        *(vector *)(out + i * dim) = sum[i][0]; \
        *(vector *)(out + i * dim + LANES) = sum[i][1]; \
    } \
}
TILE(tile, TALL)
TILE(line, 1)

/* out = start + a b; a is (rows, inner), b is in panels of PANEL columns, each (inner, PANEL). */
static void product(int64_t rows, int64_t inner, int64_t dim, const float *a, const float *b, const float *start,
                    int64_t next, float *out) {
    for (int64_t k = 0; k < dim; k += PANEL) {
        const float *panel = b + k * inner, *from = start ? start + k : NULL;
        int64_t r = 0;
        for (; r + TALL <= rows; r += TALL)
            tile(inner, a + r * inner, inner, 1, panel, PANEL, from ? from + r * next : NULL, next, out + r * dim + k, dim);
        for (; r < rows; r++)
            line(inner, a + r * inner, inner, 1, panel, PANEL, from ? from + r * next : NULL, next, out + r * dim + k, dim);
    }
}

/* sum += a^T b; a is (rows, wide), b (rows, dim). */
static void outer(int64_t rows, int64_t wide, int64_t dim, const float *a, const float *b, float *sum) {
    for (int64_t k = 0; k < dim; k += PANEL)
        for (int64_t i = 0; i < wide; i += TALL)
            tile(rows, a + i, 1, wide, b + k, dim, sum + i * dim + k, dim, sum + i * dim + k, dim);
}

/* The product of some rows; `next` is 0 if all start from the same numbers. */
void multiplied(int64_t dim, int64_t start, int64_t stop, int64_t inner, const float *a, const float *b,
                const float *from, int64_t next, float *out) {
    KNOWN
    product(stop - start, inner, dim, a + start * inner, b, from ? from + start * next : NULL, next, out + start * dim);
}

/* The sum over some rows, `most` at a time, which stay in the nearest caches. */
void multiplied_transposed(int64_t dim, int64_t start, int64_t stop, int64_t most, int64_t wide, const float *a,
                           const float *b, float *sum) {
    KNOWN
    for (; start < stop; start += most)
        outer(stop - start < most ? stop - start : most, wide, dim, a + start * wide, b + start * dim, sum);
}

/* The widest rows that are normalised by themselves. */
int64_t widest(void) { return WIDE; }

/* Columns of a panel: widths of what `product` and `outer` take are multiples of it. */
int64_t panel(void) { return PANEL; }

/* The end of the nodes from i on whose edges, at most `most` if one has not more, are done together. */
static int64_t block_end(const int64_t *first, int64_t i, int64_t stop, int64_t most) {
    const int64_t begin = first[i++];
    while (i < stop && first[i + 1] - begin <= most) i++;
    return i;
}

/* Gates and gated sums over the edges into each node, one of the rows; m = e + a_i + b_j. Some `most` edges at a time.
 *
 * What e is: y times `weight`; or rows of `values` that `index` names; or what m was before.
 * With `sums`, sums of share * m and share * m * m are added. With `scale` there is next = y + SiLU(scale m + shift), with `eps`,
 * where rows have at most WIDE numbers, of the normalised m; without m there is `spare` for that of some edges. */
void gated(int64_t dim, int64_t start, int64_t stop, int64_t most, const int64_t *restrict first,
           const int64_t *restrict source, const float *restrict count, const float *restrict ends,
           const float *restrict y, const int64_t *restrict index, const float *restrict values,
           const float *restrict weight, const float *restrict share, const float *restrict scale,
           const float *restrict shift, const float *eps, float *restrict m, float *restrict next, float *restrict message,
           float *restrict gates, float *restrict total, double *restrict sums, double *restrict squares,
           float *restrict spare) {
    KNOWN
    for (int64_t node = start, end; node < stop; node = end) {
        end = block_end(first, node, stop, most);
        const int64_t begin = first[node], edges = first[end] - begin;
        float *block = m ? m + begin * dim : spare;
        if (weight) product(edges, dim, dim, y + begin * dim, weight, NULL, 0, block);
        COLUMNS {
            const int width = WIDTH;
            float one[WIDE] = {0}, two[WIDE] = {0}, centre[WIDE] = {0};
            double part = 0.0;
            for (int64_t i = node; i < end; i++) {
                float gate_sum[WIDE] = {0}, sum[WIDE] = {0};
                const float *own = ROW(ends, i, 4 * dim), *a = own + dim;
                for (int64_t e = first[i]; e < first[i + 1]; e++) {
                    const float *b = ROW(ends, source[e], 4 * dim) + 2 * dim, *v = b + dim, times = count[e];
                    float *restrict here = ROW(block, e - begin, dim);
                    if (index) {
                        const float *value = ROW(values, index[e], dim);
                        EACH here[c] = value[c] + a[c] + b[c];
                    } else EACH here[c] += a[c] + b[c];
                    EACH {
                        const float gate = times * sigmoid(here[c]);
                        gate_sum[c] += gate;
                        sum[c] += gate * v[c];
                    }
                    if (sums) {
                        /* in single precision about a row of the block, so that no digits are lost */
                        if (e == begin) EACH centre[c] = here[c];
                        const float weigh = share[e];
                        part += weigh;
                        EACH {
                            const float off = here[c] - centre[c], some = weigh * off;
                            one[c] += some;
                            two[c] += some * off;
                        }
                    }
                    if (eps) {
                        const float *more = y + (index ? index[e] : e) * dim;
                        normalised_row(dim, here, more, scale, shift, *eps, next + e * dim);
                    } else if (scale) {
                        const float *s = scale + k, *plus = shift + k, *more = ROW(y, index ? index[e] : e, dim);
                        float *restrict out = ROW(next, e, dim);
                        EACH {
                            const float value = fmaf(here[c], s[c], plus[c]);
                            out[c] = more[c] + value * sigmoid(value);
                        }
                    }
                }
                float *restrict g = ROW(gates, i, dim), *restrict h = ROW(message, i, dim), *restrict t = ROW(total, i, dim);
                EACH {
                    g[c] = gate_sum[c] + 1e-6f;
                    h[c] = sum[c] / g[c];
                    t[c] = own[c] + h[c];
                }
            }
            if (sums) EACH {
                const double middle = centre[c];
                sums[k + c] += one[c] + part * middle;
                squares[k + c] += two[c] + middle * (2.0 * one[c] + part * middle);
            }
        }
    }
}

/* Its derivative. `dends`, `dweight`, `dvalues` and `dresidual` are sums, zero before; each thread has its own, for
 * edges come from any node.
 *
 * `dnext` is the derivative by m through what else reads it; with `scale` that by y + SiLU(scale m + shift), of which
 * each row gets less its share of what goes through the statistics (see affine_derivative); with `eps` that by
 * y + SiLU(scale N(m) + shift), of which there are `sums` by shift and `products` by scale. What is found: of y and its
 * weight `dy` and `dweight`; of an index `dvalues` and, by y, `dresidual`; else `dm`. */
void gated_derivative(int64_t dim, int64_t start, int64_t stop, int64_t most, const int64_t *restrict first,
                      const int64_t *restrict source, const float *restrict count, const float *restrict ends,
                      const float *restrict m, const float *restrict message, const float *restrict gates,
                      const float *restrict dtotal, const float *restrict dnext, const float *restrict scale,
                      const float *restrict shift, const float *eps, const float *restrict share,
                      const float *restrict by_x, const float *restrict constant, const float *restrict y,
                      const int64_t *restrict index,
                      const float *restrict weight, float *restrict dm, float *restrict dy, double *restrict sums,
                      double *restrict products, float *restrict dends, float *restrict dweight, float *restrict dvalues,
                      float *restrict dresidual, float *restrict spare) {
    KNOWN
    for (int64_t node = start, end; node < stop; node = end) {
        end = block_end(first, node, stop, most);
        const int64_t begin = first[node], edges = first[end] - begin;
        float *block = dm ? dm + begin * dim : spare;
        COLUMNS {
            const int width = WIDTH;
            float some[WIDE] = {0}, more[WIDE] = {0};
            for (int64_t i = node; i < end; i++) {
                float sum[WIDE], gate[WIDE], target[WIDE] = {0};
                const float *d = ROW(dtotal, i, dim), *h = ROW(message, i, dim), *g = ROW(gates, i, dim);
                EACH {
                    sum[c] = d[c] / g[c];
                    gate[c] = -sum[c] * h[c];
                }
                for (int64_t e = first[i]; e < first[i + 1]; e++) {
                    const float *v = ROW(ends, source[e], 4 * dim) + 3 * dim, *here = ROW(m, e, dim), times = count[e];
                    const float *through = dnext ? ROW(dnext, e, dim) : NULL;
                    float *restrict out = ROW(block, e - begin, dim), *restrict b = ROW(dends, source[e], 4 * dim) + 2 * dim;
                    EACH {
                        const float s = sigmoid(here[c]);
                        out[c] = times * (sum[c] * v[c] + gate[c]) * s * (1.0f - s);
                        b[dim + c] += times * s * sum[c];
                    }
                    if (through && eps)
                        normalised_row_derivative(dim, here, through, scale, shift, *eps, some, more, out);
                    else if (through && scale) {
                        const float *s = scale + k, *plus = shift + k, *by = by_x + k, *add = constant + k, part = share[e];
                        EACH out[c] += s[c] * slope_of(1, here[c], s[c], plus[c], through[c]) - part * fmaf(by[c], here[c], add[c]);
                    } else if (through) EACH out[c] += through[c];
                    EACH {
                        target[c] += out[c];
                        b[c] += out[c];
                    }
                    if (index) {
                        float *restrict of = ROW(dvalues, index[e], dim);
                        EACH of[c] += out[c];
                        if (through) {
                            float *restrict residual = ROW(dresidual, index[e], dim);
                            EACH residual[c] += through[c];
                        }
                    }
                }
                float *own = ROW(dends, i, 4 * dim);
                EACH {
                    own[c] += d[c];
                    own[dim + c] += target[c];
                }
            }
            if (sums) EACH {
                sums[k + c] += some[c];
                products[k + c] += more[c];
            }
        }
        if (weight) {
            outer(edges, dim, dim, block, y + begin * dim, dweight);
            if (dy) product(edges, dim, dim, block, weight, dnext ? dnext + begin * dim : NULL, dim, dy + begin * dim);
        }
    }
}

/* Sums of share * x and share * x * x over the rows, in double precision. */
void moments(int64_t dim, int64_t start, int64_t stop, const float *restrict x,
             const float *restrict share, double *restrict first, double *restrict second) {
    KNOWN
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

/* y = residual + act(scale * x + shift); act is SiLU or nothing, residual may be null; `index` names its rows, or is null. */
void affine(int64_t dim, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
            const float *restrict residual, const int64_t *restrict index, const float *restrict scale,
            const float *restrict shift, float *restrict y) {
    KNOWN
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
                const float *more = ROW(residual, index ? index[r] : r, dim);
                EACH out[c] += more[c];
            }
        }
    }
}

/* Sums over the rows of the derivative by the normalised x, and of that times the normalised x. */
void affine_sums(int64_t dim, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
                 const float *restrict dy, const float *restrict scale, const float *restrict shift,
                 const float *restrict mean, double *restrict sums, double *restrict products) {
    KNOWN
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
void affine_derivative(int64_t dim, int64_t start, int64_t stop, int64_t silu, const float *restrict x,
                       const float *restrict dy, const float *restrict scale, const float *restrict shift,
                       const float *restrict share, const float *restrict by_x, const float *restrict constant,
                       float *restrict dx) {
    KNOWN
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

/* y = residual + SiLU(gain N(x) + bias), each row of at most WIDE numbers by itself; residual may be null. */
void normalised(int64_t dim, int64_t start, int64_t stop, const float *restrict x, const float *restrict residual,
                const float *restrict gain, const float *restrict bias, const float *eps, float *restrict y) {
    KNOWN
    for (int64_t r = start; r < stop; r++)
        normalised_row(dim, x + r * dim, residual ? residual + r * dim : NULL, gain, bias, *eps, y + r * dim);
}

/* Its derivative by x, and sums of those by bias and gain. */
void normalised_derivative(int64_t dim, int64_t start, int64_t stop, const float *restrict x, const float *restrict dy,
                           const float *restrict gain, const float *restrict bias, const float *eps, float *restrict dx,
                           double *restrict sums, double *restrict products) {
    KNOWN
    for (int64_t r = start; r < stop;) {
        /* few enough for single precision */
        const int64_t end = r + 32 < stop ? r + 32 : stop;
        float some[WIDE] = {0}, more[WIDE] = {0};
        memset(dx + r * dim, 0, (end - r) * dim * sizeof(float));
        for (; r < end; r++)
            normalised_row_derivative(dim, x + r * dim, dy + r * dim, gain, bias, *eps, some, more, dx + r * dim);
        for (int64_t c = 0; c < dim; c++) {
            sums[c] += some[c];
            products[c] += more[c];
        }
    }
}

#define FOUR(i) given[i], given[i + 1], given[i + 2], given[i + 3]
#define MOST 32
typedef int64_t number;
typedef void function(number, number, number, number, number, number, number, number, number, number, number, number, number,
                      number, number, number, number, number, number, number, number, number, number, number, number, number,
                      number, number, number, number, number, number);

/* Call a function for each range of the rows, of which part p has those from first[p] to first[p + 1], by `threads` threads
 * where OpenMP is there. Arguments are numbers and addresses alike; a function does not look at those beyond its own. */
void in_parts(function *one, int64_t parts, int64_t threads, const int64_t *first, const int64_t *arguments) {
    (void)threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static, 1)
    for (int64_t part = 0; part < parts; part++)
        for (int64_t range = first[part]; range < first[part + 1]; range++) {
            const int64_t *given = arguments + range * MOST;
            one(FOUR(0), FOUR(4), FOUR(8), FOUR(12), FOUR(16), FOUR(20), FOUR(24), FOUR(28));
        }
}
