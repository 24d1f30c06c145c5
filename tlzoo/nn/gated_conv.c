/* The gated convolution of gated_conv.py between its matrix products, in float32: networks one after the other,
   each with its own weights and batch statistics. Bonds are sorted by target. Compiled by compiled.py. */

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

/* Mean, variance and inverse of the standard deviation of rows whose weighted sum is known; they become their
   distances from the mean. */
static void centre(int64_t rows, int64_t wide, out x, in share, double *restrict sum, out part, float eps,
                   out mean, out variance, out inverse) {
    for (int64_t k = 0; k < wide; k++) {
        mean[k] = (float)sum[k];
        sum[k] = 0.0;
    }
    for (int64_t i = 0; i < rows; i++) {
        out row = x + i * wide;
        for (int64_t k = 0; k < wide; k++) {
            float distance = row[k] - mean[k];
            row[k] = distance;
            part[k] += share[i] * distance * distance;
        }
        if (i % CHUNK == CHUNK - 1) add(sum, part, wide);
    }
    add(sum, part, wide);
    for (int64_t k = 0; k < wide; k++) {
        variance[k] = (float)sum[k];
        inverse[k] = 1.0f / sqrtf(variance[k] + eps);
    }
}

/* Of each network: mean, variance, inverse of the gates, (3, 2 dim), then of the sums, (3, dim), in statistics. */
int gated_conv(int64_t networks, const int64_t *atom_starts, const int64_t *bond_starts, int64_t dim,
               const int64_t *target, const int64_t *source, in count, in bond_share, in atom_share, in x,
               in both, in gate_weight, in gate_bias, in sum_weight, in sum_bias, float eps, out z, out gates,
               out core, out total, out before, out after, out statistics) {
    int64_t wide = 2 * dim;
    double *sum = calloc(wide, sizeof(double));
    float *part = calloc(wide, sizeof(float)), *scale = malloc(wide * sizeof(float));
    if (!sum || !part || !scale) {
        free(sum), free(part), free(scale);
        return 1;
    }
    for (int64_t n = 0; n < networks; n++) {
        int64_t a0 = atom_starts[n], a1 = atom_starts[n + 1], b0 = bond_starts[n], b1 = bond_starts[n + 1];
        in gw = gate_weight + n * wide, gb = gate_bias + n * wide, sw = sum_weight + n * dim, sb = sum_bias + n * dim;
        out mean = statistics + n * 9 * dim, variance = mean + wide, inverse = variance + wide;
        for (int64_t k = 0; k < wide; k++) sum[k] = 0.0;
        for (int64_t b = b0; b < b1; b++) {
            in t = both + 2 * target[b] * wide, s = both + (2 * source[b] + 1) * wide;
            out row = z + b * wide;
            for (int64_t k = 0; k < wide; k++) {
                float value = row[k] + t[k] + s[k];
                row[k] = value;
                part[k] += bond_share[b] * value;
            }
            if ((b - b0) % CHUNK == CHUNK - 1) add(sum, part, wide);
        }
        add(sum, part, wide);
        centre(b1 - b0, wide, z + b0 * wide, bond_share + b0, sum, part, eps, mean, variance, inverse);
        for (int64_t k = 0; k < wide; k++) scale[k] = gw[k] * inverse[k];
        memset(total + a0 * dim, 0, (a1 - a0) * dim * sizeof(float));
        for (int64_t b = b0; b < b1; b++) {
            in row = z + b * wide;
            out g = gates + b * wide, c = core + b * dim, sums = total + target[b] * dim;
            for (int64_t k = 0; k < dim; k++) {
                float gate = sigmoid(gb[k] + row[k] * scale[k]);
                float y = gb[dim + k] + row[dim + k] * scale[dim + k];
                float value = softplus(y);
                g[k] = gate;
                g[dim + k] = sigmoid(y);
                c[k] = value;
                sums[k] += count[b] * gate * value;
            }
        }
        mean = inverse + wide, variance = mean + dim, inverse = variance + dim;
        for (int64_t k = 0; k < dim; k++) sum[k] = 0.0;
        for (int64_t a = a0; a < a1; a++) {
            for (int64_t k = 0; k < dim; k++) part[k] += atom_share[a] * total[a * dim + k];
            if ((a - a0) % CHUNK == CHUNK - 1) add(sum, part, dim);
        }
        add(sum, part, dim);
        centre(a1 - a0, dim, total + a0 * dim, atom_share + a0, sum, part, eps, mean, variance, inverse);
        for (int64_t k = 0; k < dim; k++) scale[k] = sw[k] * inverse[k];
        for (int64_t a = a0; a < a1; a++)
            for (int64_t k = 0; k < dim; k++) {
                float y = x[a * dim + k] + sb[k] + total[a * dim + k] * scale[k];
                before[a * dim + k] = y;
                after[a * dim + k] = softplus(y);
            }
    }
    free(sum), free(part), free(scale);
    return 0;
}

/* Of each network in derivatives: by weight and bias of the gates' norm and by the bias of the edges, (3, 2 dim),
   then by weight and bias of the sums' norm, (2, dim). */
int gated_conv_backward(int64_t networks, const int64_t *atom_starts, const int64_t *bond_starts, int64_t dim,
                        const int64_t *target, const int64_t *source, in count, in bond_share, in atom_share, in dy,
                        in gate_weight, in sum_weight, in z, in gates, in core, in total, in before, in statistics,
                        out dx, out dtotal, out dz, out dboth, out derivatives) {
    int64_t wide = 2 * dim;
    double *sums = calloc(2 * wide, sizeof(double));
    float *parts = calloc(2 * wide, sizeof(float)), *scale = malloc(2 * wide * sizeof(float));
    if (!sums || !parts || !scale) {
        free(sums), free(parts), free(scale);
        return 1;
    }
    for (int64_t n = 0; n < networks; n++) {
        int64_t a0 = atom_starts[n], a1 = atom_starts[n + 1], b0 = bond_starts[n], b1 = bond_starts[n + 1];
        in gw = gate_weight + n * wide, sw = sum_weight + n * dim;
        in gate_inverse = statistics + n * 9 * dim + 2 * wide, sum_inverse = gate_inverse + wide + 2 * dim;
        out gate_dweight = derivatives + n * 8 * dim, gate_dbias = gate_dweight + wide, dbias = gate_dbias + wide;
        out sum_dweight = dbias + wide, sum_dbias = sum_dweight + dim, slope = scale + wide;
        memset(sums, 0, 2 * wide * sizeof(double));
        for (int64_t a = a0; a < a1; a++) {
            for (int64_t k = 0; k < dim; k++) {
                float d = dy[a * dim + k] * sigmoid(before[a * dim + k]);
                dx[a * dim + k] = d;
                parts[k] += d;
                parts[wide + k] += d * total[a * dim + k];
            }
            if ((a - a0) % CHUNK == CHUNK - 1) add(sums, parts, 2 * wide);
        }
        add(sums, parts, 2 * wide);
        for (int64_t k = 0; k < dim; k++) {
            sum_dbias[k] = (float)sums[k];
            sum_dweight[k] = (float)sums[wide + k] * sum_inverse[k];
            scale[k] = sw[k] * sum_inverse[k];
            slope[k] = sum_dweight[k] * sum_inverse[k];
        }
        for (int64_t a = a0; a < a1; a++)
            for (int64_t k = 0; k < dim; k++) {
                float common = sum_dbias[k] + total[a * dim + k] * slope[k];
                dtotal[a * dim + k] = scale[k] * (dx[a * dim + k] - atom_share[a] * common);
            }
        memset(sums, 0, 2 * wide * sizeof(double));
        for (int64_t b = b0; b < b1; b++) {
            in from = dtotal + target[b] * dim, g = gates + b * wide, c = core + b * dim, row = z + b * wide;
            out d = dz + b * wide;
            for (int64_t k = 0; k < dim; k++) {
                float gated = count[b] * from[k] * g[k];
                float dgate = gated * c[k] * (1.0f - g[k]), dcore = gated * g[dim + k];
                d[k] = dgate;
                d[dim + k] = dcore;
                parts[k] += dgate;
                parts[dim + k] += dcore;
                parts[wide + k] += dgate * row[k];
                parts[wide + dim + k] += dcore * row[dim + k];
            }
            if ((b - b0) % CHUNK == CHUNK - 1) add(sums, parts, 2 * wide);
        }
        add(sums, parts, 2 * wide);
        for (int64_t k = 0; k < wide; k++) {
            gate_dbias[k] = (float)sums[k];
            gate_dweight[k] = (float)sums[wide + k] * gate_inverse[k];
            scale[k] = gw[k] * gate_inverse[k];
            slope[k] = gate_dweight[k] * gate_inverse[k];
            sums[k] = 0.0;
        }
        memset(dboth + 2 * a0 * wide, 0, 2 * (a1 - a0) * wide * sizeof(float));
        for (int64_t b = b0; b < b1; b++) {
            in row = z + b * wide;
            out d = dz + b * wide, t = dboth + 2 * target[b] * wide, s = dboth + (2 * source[b] + 1) * wide;
            for (int64_t k = 0; k < wide; k++) {
                float value = scale[k] * (d[k] - bond_share[b] * (gate_dbias[k] + row[k] * slope[k]));
                d[k] = value;
                t[k] += value;
                s[k] += value;
                parts[k] += value;
            }
            if ((b - b0) % CHUNK == CHUNK - 1) add(sums, parts, wide);
        }
        add(sums, parts, wide);
        for (int64_t k = 0; k < wide; k++) dbias[k] = (float)sums[k];
    }
    free(sums), free(parts), free(scale);
    return 0;
}
