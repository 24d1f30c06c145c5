/* The gated convolution of gated_conv.py between its matrix products, in float32: networks one after the other,
   each with its own weights and batch statistics. Bonds are sorted by target. Compiled by compiled.py. */

#if defined(__AVX512F__) && !defined(__clang__)
/* as passes.c */
#pragma GCC target("prefer-vector-width=512")
#endif

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Rows whose sums are in float32; those of all rows are in double. */
#define CHUNK 64

typedef const float *restrict in;
typedef float *restrict out;

/* exp of what is at most 0, to 2e-7; loops over it are vectorised, those over expf are not everywhere. NaN
   stays NaN: no comparison with it holds, and no factor takes it away. */
static inline float falling(float x) {
    /* the larger of x and -87, of their bits: with a choice between them the loops would branch */
    union { float value; int32_t bits; } kept = {x}, least = {-87.0f};
    int32_t below = -(x < -87.0f);
    kept.bits = (kept.bits & ~below) | (least.bits & below);
    x = kept.value;
    float whole = (float)(int32_t)(x * 1.44269504f - 0.5f);
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float y = 1.9875691e-4f;
    y = y * rest + 1.3981999e-3f;
    y = y * rest + 8.3334519e-3f;
    y = y * rest + 4.1665796e-2f;
    y = y * rest + 1.6666666e-1f;
    y = y * rest + 0.5f;
    y = y * rest * rest + rest + 1.0f;
    union { int32_t bits; float value; } power = {((int32_t)whole + 127) << 23};
    return y * power.value;
}

/* log(1 + x), 0 to 1, to 1e-8: the series of the area tangent. */
static inline float log1plus(float x) {
    float s = x / (2.0f + x), t = s * s;
    float y = 1.0f / 13.0f;
    y = y * t + 1.0f / 11.0f;
    y = y * t + 1.0f / 9.0f;
    y = y * t + 1.0f / 7.0f;
    y = y * t + 1.0f / 5.0f;
    y = y * t + 1.0f / 3.0f;
    return 2.0f * s * (y * t + 1.0f);
}

static inline float sigmoid(float x) {
    float e = falling(-fabsf(x)), r = 1.0f / (1.0f + e), falls = e * r;
    return x < 0.0f ? falls : r;
}

static inline float softplus(float x) {
    return (x > 0.0f ? x : 0.0f) + log1plus(falling(-fabsf(x)));
}

static void add(double *restrict total, out part, int64_t wide) {
    for (int64_t k = 0; k < wide; k++) {
        total[k] += part[k];
        part[k] = 0.0f;
    }
}

/* The sums of all parts, which are next to each other, in that of the first. */
static void gather(int64_t parts, int64_t wide, double *sums) {
    for (int64_t p = 1; p < parts; p++)
        for (int64_t k = 0; k < wide; k++) sums[k] += sums[p * wide + k];
}

/* Do something with each part of a network, by threads. */
#define EACH_PART \
    _Pragma("omp parallel for num_threads(threads) if (threads > 1 && parts > 1) schedule(static, 1)") \
    for (int64_t p = 0; p < parts; p++)

/* z of some bonds, and sums of it. */
static void with_ends(int64_t start, int64_t stop, int64_t wide, const int64_t *target, const int64_t *source, in share,
                      in both, out z, double *restrict sum, out part) {
    memset(sum, 0, wide * sizeof(double));
    memset(part, 0, wide * sizeof(float));
    for (int64_t b = start; b < stop; b++) {
        in t = both + 2 * target[b] * wide, s = both + (2 * source[b] + 1) * wide;
        out row = z + b * wide;
        for (int64_t k = 0; k < wide; k++) {
            float value = row[k] + t[k] + s[k];
            row[k] = value;
            part[k] += share[b] * value;
        }
        if ((b - start) % CHUNK == CHUNK - 1) add(sum, part, wide);
    }
    add(sum, part, wide);
}

/* Rows become their distances from the mean; sums of their squares. */
static void centre(int64_t start, int64_t stop, int64_t wide, in share, in mean, out x, double *restrict sum, out part) {
    memset(sum, 0, wide * sizeof(double));
    for (int64_t i = start; i < stop; i++) {
        out row = x + i * wide;
        for (int64_t k = 0; k < wide; k++) {
            float distance = row[k] - mean[k];
            row[k] = distance;
            part[k] += share[i] * distance * distance;
        }
        if ((i - start) % CHUNK == CHUNK - 1) add(sum, part, wide);
    }
    add(sum, part, wide);
}

static void deviation(int64_t wide, const double *restrict sum, float eps, out variance, out inverse) {
    for (int64_t k = 0; k < wide; k++) {
        variance[k] = (float)sum[k];
        inverse[k] = 1.0f / sqrtf(variance[k] + eps);
    }
}

/* Gates and cores of some bonds, their sums over the atoms that they lead to, and sums of those. */
static void gated(int64_t a0, int64_t a1, int64_t b0, int64_t b1, int64_t dim, const int64_t *target, in count,
                  in share, in z, in scale, in bias, out gates, out core, out total, double *restrict sum, out part) {
    int64_t wide = 2 * dim;
    memset(total + a0 * dim, 0, (a1 - a0) * dim * sizeof(float));
    for (int64_t b = b0; b < b1; b++) {
        in row = z + b * wide;
        out g = gates + b * wide, c = core + b * dim, sums = total + target[b] * dim;
        for (int64_t k = 0; k < dim; k++) {
            float gate = sigmoid(bias[k] + row[k] * scale[k]);
            float y = bias[dim + k] + row[dim + k] * scale[dim + k];
            float value = softplus(y);
            g[k] = gate;
            g[dim + k] = sigmoid(y);
            c[k] = value;
            sums[k] += count[b] * gate * value;
        }
    }
    memset(sum, 0, dim * sizeof(double));
    for (int64_t a = a0; a < a1; a++) {
        for (int64_t k = 0; k < dim; k++) part[k] += share[a] * total[a * dim + k];
        if ((a - a0) % CHUNK == CHUNK - 1) add(sum, part, dim);
    }
    add(sum, part, dim);
}

static void activated(int64_t start, int64_t stop, int64_t dim, in x, in total, in scale, in bias, out before,
                      out after) {
    for (int64_t a = start; a < stop; a++)
        for (int64_t k = 0; k < dim; k++) {
            float y = x[a * dim + k] + bias[k] + total[a * dim + k] * scale[k];
            before[a * dim + k] = y;
            after[a * dim + k] = softplus(y);
        }
}

/* Networks have as many parts each; `atom_starts` and `bond_starts` say where one ends and the next begins. No bond is
   between parts. Of each network there are mean, variance, inverse of the gates, (3, 2 dim), then of the sums, (3, dim), in
   statistics. */
int gated_conv(int64_t networks, int64_t parts, int64_t threads, const int64_t *atom_starts,
               const int64_t *bond_starts, int64_t dim, const int64_t *target, const int64_t *source, in count, in bond_share, in atom_share, in x,
               in both, in gate_weight, in gate_bias, in sum_weight, in sum_bias, float eps, out z, out gates,
               out core, out total, out before, out after, out statistics) {
    int64_t wide = 2 * dim;
    double *sums = malloc(parts * wide * sizeof(double));
    float *some = malloc((parts + 1) * wide * sizeof(float));
    if (!sums || !some) {
        free(sums), free(some);
        return 1;
    }
    for (int64_t n = 0; n < networks; n++) {
        float *scale = some + parts * wide;
        const int64_t *atoms = atom_starts + n * parts, *bonds = bond_starts + n * parts;
        in gw = gate_weight + n * wide, gb = gate_bias + n * wide, sw = sum_weight + n * dim, sb = sum_bias + n * dim;
        out mean = statistics + n * 9 * dim, variance = mean + wide, inverse = variance + wide;
        EACH_PART with_ends(bonds[p], bonds[p + 1], wide, target, source, bond_share, both, z, sums + p * wide,
                            some + p * wide);
        gather(parts, wide, sums);
        for (int64_t k = 0; k < wide; k++) mean[k] = (float)sums[k];
        EACH_PART centre(bonds[p], bonds[p + 1], wide, bond_share, mean, z, sums + p * wide, some + p * wide);
        gather(parts, wide, sums);
        deviation(wide, sums, eps, variance, inverse);
        for (int64_t k = 0; k < wide; k++) scale[k] = gw[k] * inverse[k];
        EACH_PART gated(atoms[p], atoms[p + 1], bonds[p], bonds[p + 1], dim, target, count, atom_share, z, scale, gb,
                        gates, core, total, sums + p * dim, some + p * wide);
        gather(parts, dim, sums);
        mean = inverse + wide, variance = mean + dim, inverse = variance + dim;
        for (int64_t k = 0; k < dim; k++) mean[k] = (float)sums[k];
        EACH_PART centre(atoms[p], atoms[p + 1], dim, atom_share, mean, total, sums + p * dim, some + p * wide);
        gather(parts, dim, sums);
        deviation(dim, sums, eps, variance, inverse);
        for (int64_t k = 0; k < dim; k++) scale[k] = sw[k] * inverse[k];
        EACH_PART activated(atoms[p], atoms[p + 1], dim, x, total, scale, sb, before, after);
    }
    free(sums), free(some);
    return 0;
}

/* Derivatives by what is activated, and their sums by bias and weight of its norm. */
static void before_activation(int64_t start, int64_t stop, int64_t dim, in dy, in before, in total, out dx,
                              double *restrict sums, out some) {
    memset(sums, 0, 2 * dim * sizeof(double));
    memset(some, 0, 2 * dim * sizeof(float));
    for (int64_t a = start; a < stop; a++) {
        for (int64_t k = 0; k < dim; k++) {
            float d = dy[a * dim + k] * sigmoid(before[a * dim + k]);
            dx[a * dim + k] = d;
            some[k] += d;
            some[dim + k] += d * total[a * dim + k];
        }
        if ((a - start) % CHUNK == CHUNK - 1) add(sums, some, 2 * dim);
    }
    add(sums, some, 2 * dim);
}

static void before_norm(int64_t start, int64_t stop, int64_t dim, in share, in dx, in total, in scale, in dbias,
                        in slope, out dtotal) {
    for (int64_t a = start; a < stop; a++)
        for (int64_t k = 0; k < dim; k++) {
            float common = dbias[k] + total[a * dim + k] * slope[k];
            dtotal[a * dim + k] = scale[k] * (dx[a * dim + k] - share[a] * common);
        }
}

/* Derivatives by the normalised z of some bonds, and their sums by bias and weight of that norm. */
static void before_gates(int64_t start, int64_t stop, int64_t dim, const int64_t *target, in count, in dtotal, in gates,
                         in core, in z, out dz, double *restrict sums, out some) {
    int64_t wide = 2 * dim;
    memset(sums, 0, 2 * wide * sizeof(double));
    memset(some, 0, 2 * wide * sizeof(float));
    for (int64_t b = start; b < stop; b++) {
        in from = dtotal + target[b] * dim, g = gates + b * wide, c = core + b * dim, row = z + b * wide;
        out d = dz + b * wide;
        for (int64_t k = 0; k < dim; k++) {
            float gated = count[b] * from[k] * g[k];
            float dgate = gated * c[k] * (1.0f - g[k]), dcore = gated * g[dim + k];
            d[k] = dgate;
            d[dim + k] = dcore;
            some[k] += dgate;
            some[dim + k] += dcore;
            some[wide + k] += dgate * row[k];
            some[wide + dim + k] += dcore * row[dim + k];
        }
        if ((b - start) % CHUNK == CHUNK - 1) add(sums, some, 2 * wide);
    }
    add(sums, some, 2 * wide);
}

/* Derivatives by z of some bonds, their sums over the bonds of each atom, and over all. */
static void to_ends(int64_t a0, int64_t a1, int64_t b0, int64_t b1, int64_t wide, const int64_t *target,
                    const int64_t *source, in share, in z, in scale, in dbias, in slope, out dz, out dboth,
                    double *restrict sum, out part) {
    memset(sum, 0, wide * sizeof(double));
    memset(dboth + 2 * a0 * wide, 0, 2 * (a1 - a0) * wide * sizeof(float));
    for (int64_t b = b0; b < b1; b++) {
        in row = z + b * wide;
        out d = dz + b * wide, t = dboth + 2 * target[b] * wide, s = dboth + (2 * source[b] + 1) * wide;
        for (int64_t k = 0; k < wide; k++) {
            float value = scale[k] * (d[k] - share[b] * (dbias[k] + row[k] * slope[k]));
            d[k] = value;
            t[k] += value;
            s[k] += value;
            part[k] += value;
        }
        if ((b - b0) % CHUNK == CHUNK - 1) add(sum, part, wide);
    }
    add(sum, part, wide);
}

/* Of each network in derivatives: by weight and bias of the gates' norm and by the bias of the edges, (3, 2 dim),
   then by weight and bias of the sums' norm, (2, dim). */
int gated_conv_backward(int64_t networks, int64_t parts, int64_t threads, const int64_t *atom_starts,
                        const int64_t *bond_starts, int64_t dim, const int64_t *target, const int64_t *source, in count, in bond_share, in atom_share, in dy,
                        in gate_weight, in sum_weight, in z, in gates, in core, in total, in before, in statistics,
                        out dx, out dtotal, out dz, out dboth, out derivatives) {
    int64_t wide = 2 * dim;
    double *sums = malloc(parts * 2 * wide * sizeof(double));
    float *some = malloc((parts + 1) * 2 * wide * sizeof(float));
    if (!sums || !some) {
        free(sums), free(some);
        return 1;
    }
    for (int64_t n = 0; n < networks; n++) {
        float *scale = some + parts * 2 * wide;
        const int64_t *atoms = atom_starts + n * parts, *bonds = bond_starts + n * parts;
        in gw = gate_weight + n * wide, sw = sum_weight + n * dim;
        in gate_inverse = statistics + n * 9 * dim + 2 * wide, sum_inverse = gate_inverse + wide + 2 * dim;
        out gate_dweight = derivatives + n * 8 * dim, gate_dbias = gate_dweight + wide, dbias = gate_dbias + wide;
        out sum_dweight = dbias + wide, sum_dbias = sum_dweight + dim, slope = scale + wide;
        EACH_PART before_activation(atoms[p], atoms[p + 1], dim, dy, before, total, dx, sums + p * wide,
                                    some + p * wide);
        gather(parts, wide, sums);
        for (int64_t k = 0; k < dim; k++) {
            sum_dbias[k] = (float)sums[k];
            sum_dweight[k] = (float)sums[dim + k] * sum_inverse[k];
            scale[k] = sw[k] * sum_inverse[k];
            slope[k] = sum_dweight[k] * sum_inverse[k];
        }
        EACH_PART {
            before_norm(atoms[p], atoms[p + 1], dim, atom_share, dx, total, scale, sum_dbias, slope, dtotal);
            before_gates(bonds[p], bonds[p + 1], dim, target, count, dtotal, gates, core, z, dz, sums + p * 2 * wide,
                         some + p * 2 * wide);
        }
        gather(parts, 2 * wide, sums);
        for (int64_t k = 0; k < wide; k++) {
            gate_dbias[k] = (float)sums[k];
            gate_dweight[k] = (float)sums[wide + k] * gate_inverse[k];
            scale[k] = gw[k] * gate_inverse[k];
            slope[k] = gate_dweight[k] * gate_inverse[k];
        }
        EACH_PART to_ends(atoms[p], atoms[p + 1], bonds[p], bonds[p + 1], wide, target, source, bond_share, z, scale,
                          gate_dbias, slope, dz, dboth, sums + p * wide, some + p * 2 * wide);
        gather(parts, wide, sums);
        for (int64_t k = 0; k < wide; k++) dbias[k] = (float)sums[k];
    }
    free(sums), free(some);
    return 0;
}
