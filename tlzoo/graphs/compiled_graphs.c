/* Neighbours and merged graphs, crystal after crystal, so that all a crystal needs stays in the nearest caches:
 * what neighbours.py, colours.py and merge.py do for many at once in numpy. What a number means stands there. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Memory that grows; what was in it is lost but for `kept` bytes. */
typedef struct {
    void *start;
    size_t bytes;
} Memory;

static void *room(Memory *memory, size_t bytes, size_t kept) {
    if (bytes <= memory->bytes) return memory->start;
    const size_t wanted = bytes + bytes / 2;
    void *start = malloc(wanted);
    if (!start) return NULL;
    if (kept) memcpy(start, memory->start, kept);
    free(memory->start);
    memory->start = start;
    memory->bytes = wanted;
    return start;
}

/* An array in the memory of that number; leaves the function where there is none. */
#define ARRAY(type, name, number, count)                                       \
    type *name = room(&memory[number], ((size_t)(count) + 1) * sizeof(type), 0); \
    if (!name) return -1

/* Keys in ascending order: few by insertion, many by quicksort. */
static int by_key(const void *a, const void *b) {
    const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return (one > other) - (one < other);
}

static void sort(uint64_t *keys, int64_t count) {
    if (count > 48) {
        qsort(keys, count, sizeof *keys, by_key);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        const uint64_t key = keys[i];
        int64_t at = i;
        for (; at && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* ---- neighbours ---- */

typedef struct {
    double length, vector[3];
    int64_t source;
} Pair;

static int by_length(const void *a, const void *b) {
    const Pair *one = a, *other = b;
    if (one->length != other->length) return one->length < other->length ? -1 : 1;
    return (one > other) - (one < other);
}

static void sort_pairs(Pair *pairs, int64_t count) {
    if (count > 48) {
        qsort(pairs, count, sizeof *pairs, by_length);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        if (pairs[i - 1].length <= pairs[i].length) continue;
        const Pair pair = pairs[i];
        int64_t at = i;
        for (; at && pairs[at - 1].length > pair.length; at--) pairs[at] = pairs[at - 1];
        pairs[at] = pair;
    }
}

enum { FIRST, PAIRS, LIMIT, IMAGES, SHIFTS, OF, HOME, APART, SPAN, SEARCH };

/* All pairs at most `radius` apart, by target, those of target i from first[i]: 0; -1 without memory; 1 if atoms
 * times images were more than `most`, which cells of a lattice spare. */
static int pairs_within(Memory *memory, int64_t n, const double *lattice, const double *frac, double radius, double most) {
    double reach[3], low[3], high[3];
    const double *a = lattice, *b = lattice + 3, *c = lattice + 6;
    const double normal[3][3] = {
        {b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]},
        {c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]},
        {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]},
    };
    const double volume = fabs(a[0] * normal[0][0] + a[1] * normal[0][1] + a[2] * normal[0][2]);
    for (int d = 0; d < 3; d++) {
        const double *m = normal[d];
        low[d] = INFINITY;
        high[d] = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            low[d] = MIN(low[d], frac[3 * i + d]);
            high[d] = MAX(high[d], frac[3 * i + d]);
        }
        /* in fractions of the distance of lattice planes, and a little for rounding */
        reach[d] = radius * sqrt(m[0] * m[0] + m[1] * m[1] + m[2] * m[2]) / volume * (1 + 1e-9) + 1e-9;
    }
    ARRAY(int32_t, span, SPAN, 6 * n);
    double images = 0;
    for (int64_t i = 0; i < n; i++) {
        double all = 1;
        for (int d = 0; d < 3; d++) {
            const double from = ceil(low[d] - reach[d] - frac[3 * i + d]), to = floor(high[d] + reach[d] - frac[3 * i + d]);
            all *= to - from + 1;
            if (!(all * n <= most)) return 1;
            span[6 * i + 2 * d] = (int32_t)from;
            span[6 * i + 2 * d + 1] = (int32_t)to;
        }
        images += all;
    }
    if (!(images * n <= most)) return 1;
    const int64_t count = (int64_t)images;
    ARRAY(double, x, IMAGES, 3 * count);
    ARRAY(double, shifts, SHIFTS, 3 * count);
    ARRAY(int32_t, of, OF, count);
    ARRAY(int64_t, home, HOME, n);
    ARRAY(double, apart, APART, count);
    ARRAY(int64_t, first, FIRST, n + 1);
    double *y = x + count, *z = y + count;
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t *s = span + 6 * i;
        double own[3];
        for (int d = 0; d < 3; d++) own[d] = frac[3 * i] * a[d] + frac[3 * i + 1] * b[d] + frac[3 * i + 2] * c[d];
        for (int32_t p = s[0]; p <= s[1]; p++)
            for (int32_t q = s[2]; q <= s[3]; q++)
                for (int32_t r = s[4]; r <= s[5]; r++) {
                    double *shift = shifts + 3 * found;
                    for (int d = 0; d < 3; d++) shift[d] = p * a[d] + q * b[d] + r * c[d];
                    x[found] = own[0] + shift[0];
                    y[found] = own[1] + shift[1];
                    z[found] = own[2] + shift[2];
                    of[found] = (int32_t)i;
                    if (!p && !q && !r) home[i] = found;
                    found++;
                }
    }
    int64_t total = 0;
    const double near = radius * radius * (1 + 1e-9);
    for (int64_t i = 0; i < n; i++) {
        const int64_t self = home[i];
        const double own[3] = {x[self], y[self], z[self]};
        for (int64_t j = 0; j < count; j++) {
            const double p = own[0] - x[j], q = own[1] - y[j], r = own[2] - z[j];
            apart[j] = p * p + q * q + r * r;
        }
        first[i] = total;
        Pair *pairs = memory[PAIRS].start;
        int64_t fitting = (int64_t)(memory[PAIRS].bytes / sizeof *pairs);
        for (int64_t j = 0; j < count; j++) {
            if (apart[j] > near || j == self) continue;
            /* a bond and its reverse, or two images of one atom, have one length to the last digit */
            const int64_t at = home[of[j]];
            const double v[3] = {own[0] - x[at] - shifts[3 * j], own[1] - y[at] - shifts[3 * j + 1], own[2] - z[at] - shifts[3 * j + 2]};
            const double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
            if (length > radius) continue;
            if (total == fitting) {
                pairs = room(&memory[PAIRS], (total + 1024) * sizeof *pairs, total * sizeof *pairs);
                if (!pairs) return -1;
                fitting = (int64_t)(memory[PAIRS].bytes / sizeof *pairs);
            }
            pairs[total++] = (Pair){length, {v[0], v[1], v[2]}, of[j]};
        }
    }
    first[n] = total;
    return 0;
}

/* Sort the pairs of each target, and find how far its bonds go: whether all these are among the pairs. */
static int limits(Memory *memory, int64_t n, double radius, int64_t k, double tie, double farthest) {
    ARRAY(double, limit, LIMIT, n);
    const int64_t *first = memory[FIRST].start;
    Pair *pairs = memory[PAIRS].start;
    double longest = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t count = first[i + 1] - first[i];
        if (count) sort_pairs(pairs + first[i], count);
        limit[i] = count < k ? farthest : pairs[first[i] + k - 1].length + tie;
        longest = MAX(longest, limit[i]);
    }
    return radius >= farthest || longest < radius;
}

/* Bonds of crystals, by target, then length; with k = 0 all pairs within the radius of each, in no order.
 *
 * Returns their number, of which those are written for which there is room; -1 without memory. `left` becomes 1
 * for each crystal that is left out. */
int64_t neighbours(int64_t crystals, const int64_t *num_atoms, const double *lattice, const double *frac,
                   const double *radius, int64_t k, double tie, double farthest, int64_t symmetric, double most,
                   int64_t fitting, uint8_t *left, int64_t *source, int64_t *target, double *vector, double *length) {
    Memory memory[SEARCH] = {{0}};
    int64_t before = 0, total = 0;
    for (int64_t row = 0; row < crystals && total >= 0; before += num_atoms[row++]) {
        const int64_t n = num_atoms[row];
        const double *cell = lattice + 9 * row, *points = frac + 3 * before;
        int status = pairs_within(memory, n, cell, points, radius[row], most);
        if (!status && k) {
            int complete = limits(memory, n, radius[row], k, tie, farthest);
            if (!complete) {
                status = pairs_within(memory, n, cell, points, farthest, most);
                if (!status) complete = limits(memory, n, farthest, k, tie, farthest);
            }
            if (complete < 0) status = -1;
        }
        left[row] = status > 0;
        if (status < 0) total = -1;
        if (status) continue;
        const int64_t *first = memory[FIRST].start;
        const Pair *pairs = memory[PAIRS].start;
        const double *limit = memory[LIMIT].start;
        for (int64_t i = 0; i < n; i++)
            for (const Pair *pair = pairs + first[i]; pair < pairs + first[i + 1]; pair++) {
                if (k && pair->length > limit[i] && !(symmetric && pair->length <= limit[pair->source])) continue;
                if (total < fitting) {
                    source[total] = before + pair->source;
                    target[total] = before + i;
                    length[total] = pair->length;
                    memcpy(vector + 3 * total, pair->vector, sizeof pair->vector);
                }
                total++;
            }
    }
    for (int each = 0; each < SEARCH; each++) free(memory[each].start);
    return total;
}

/* ---- merging ---- */

#define ODD 0x9E3779B97F4A7C15ull
#define FINENESS 8
#define WIDEST 10
#define FINER 10

static inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

static inline uint64_t colour(uint64_t value) { return mix(value + ODD); }

/* Where a chain of ascending places stands; `follows` says whether a place is in the group of the last. */
typedef struct {
    int64_t last, start, part;
} Chain;

static inline int follows(Chain *chain, int64_t place) {
    const int joined = place - chain->last <= FINENESS;
    if (!joined) chain->start = place;
    const int64_t part = (place - chain->start) / (WIDEST * FINENESS), before = joined ? chain->part : 0;
    chain->last = place;
    chain->part = part;
    return joined && part == before;
}

static const Chain NOWHERE = {INT64_MIN / 2, 0, 0};

enum {
    START, UNIT, LENGTHS, COSINE, COSINES, ANGLES, BITS, BEFORE, GROUPS, KINDS, ATOMS, BONDS, MESSAGES, TABLE, ROWS,
    FIRSTS, BOND_ROWS, CHOSEN, BOND_FIRSTS, CLASSES, KEYS, MEANS, MOMENTS, SHAPES, MERGING
};

/* The group of each value, by `groups` of colours.py; returns how many there are. */
static int64_t grouped(Memory *memory, const double *values, int64_t count, double scale, int32_t *group) {
    int64_t low = INT32_MAX, high = 0;
    for (int64_t i = 0; i < count; i++) {
        group[i] = (int32_t)((values[i] + 1) * scale);
        low = MIN(low, group[i]);
        high = MAX(high, group[i]);
    }
    if (!count) return 0;
    /* a bit for each place */
    const int64_t words = ((high - low) >> 6) + 1;
    ARRAY(uint64_t, bits, BITS, words);
    ARRAY(int32_t, before, BEFORE, words);
    ARRAY(int32_t, groups, GROUPS, count);
    memset(bits, 0, words * sizeof *bits);
    for (int64_t i = 0; i < count; i++) bits[(group[i] - low) >> 6] |= 1ull << ((group[i] - low) & 63);
    Chain chain = NOWHERE;
    int32_t number = -1, found = 0;
    for (int64_t word = 0; word < words; word++) {
        before[word] = found;
        for (uint64_t rest = bits[word]; rest; rest &= rest - 1) {
            number += !follows(&chain, low + (word << 6) + __builtin_ctzll(rest));
            groups[found++] = number;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t place = group[i] - low, word = place >> 6;
        group[i] = groups[before[word] + __builtin_popcountll(bits[word] & ((1ull << (place & 63)) - 1))];
    }
    return number + 1;
}

/* Classes of equal colour, in the order of their first members: how many; the class of each, and of each class the
 * first member and how many there are, unless these are null. The table of places is left for `class_of`. */
static int64_t classes(Memory *memory, const uint64_t *colours, int64_t count, int32_t *row, int64_t *first, int32_t *size) {
    int64_t places = 16;
    while (places < 2 * count) places *= 2;
    ARRAY(int32_t, table, TABLE, 2 * places);
    memset(table, -1, places * sizeof *table);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = colours[i] & (places - 1);
        while (table[at] >= 0 && colours[table[at]] != colours[i]) at = (at + 1) & (places - 1);
        if (table[at] < 0) {
            table[at] = (int32_t)i;
            table[places + at] = (int32_t)found;
            if (first) first[found] = i;
            if (size) size[found] = 0;
            found++;
        }
        if (row) row[i] = table[places + at];
        if (size) size[table[places + at]]++;
    }
    return found;
}

typedef struct {
    int64_t atoms, bonds, angles, columns;
    const int64_t *source, *target;   /* of bonds, over all crystals */
    int64_t before;                   /* atoms of other crystals */
    const int64_t *start, *angle;     /* first bond into each atom, first angle of each bond */
    const int32_t *lengths, *cosines; /* groups */
    const double *directions;
    double tolerance;
    int64_t itself;
} Crystal;

/* A colour for what the directions of the bonds into each atom amount to, by `_shapes` of colours.py. */
static int shapes(Memory *memory, const Crystal *c, const uint64_t *atoms, const uint64_t *bonds, uint64_t *shape) {
    memset(shape, 0, c->atoms * sizeof *shape);
    if (!c->columns) return 0;
    const int64_t columns = c->columns, degree = columns == 3 ? 1 : columns == 8 ? 2 : 3;
    const int64_t values = degree + (degree > 1);
    ARRAY(double, all, MOMENTS, values * c->atoms);
    ARRAY(uint64_t, keys, KEYS, c->atoms);
    ARRAY(int32_t, kind, ROWS, c->atoms);
    if (classes(memory, atoms, c->atoms, kind, NULL, NULL) < 0) return -1;
    for (int64_t i = 0; i < c->atoms; i++) {
        double total = 0, m[15] = {0};
        for (int64_t b = c->start[i]; b < c->start[i + 1]; b++) {
            const double message = (double)(bonds[b] >> 11) * 0x1p-53;
            total += message;
            for (int64_t k = 0; k < columns; k++) m[k] += message * c->directions[b * columns + k];
        }
        for (int64_t k = 0; k < columns; k++) m[k] /= total;
        for (int64_t l = 1; l <= degree; l++) {
            double square = 0;
            for (int64_t k = l * l - 1; k < (l + 1) * (l + 1) - 1; k++) square += m[k] * m[k];
            all[(l - 1) * c->atoms + i] = square;
        }
        if (degree > 1) {
            const double x = m[0], y = m[1], z = m[2];
            all[degree * c->atoms + i] = sqrt(3.0) * (x * y * m[3] + y * z * m[4] + x * z * m[6])
                + (z * z - (x * x + y * y) / 2) * m[5] + sqrt(0.75) * (x * x - y * y) * m[7];
        }
    }
    const double scale = FINENESS / (c->tolerance / FINER);
    for (int64_t value = 0; value < values; value++) {
        for (int64_t i = 0; i < c->atoms; i++) {
            const uint64_t place = (uint64_t)((all[value * c->atoms + i] + 1) * scale);
            keys[i] = (uint64_t)kind[i] << 44 | place << 16 | (uint64_t)i;
        }
        sort(keys, c->atoms);
        Chain chain = NOWHERE;
        uint64_t number = 0, of = UINT64_MAX;
        for (int64_t i = 0; i < c->atoms; i++) {
            if (keys[i] >> 44 != of) chain = NOWHERE;
            of = keys[i] >> 44;
            number += !follows(&chain, (int64_t)(keys[i] >> 16 & ((1ull << 28) - 1)));
            uint64_t *here = shape + (keys[i] & 0xFFFF);
            *here = mix(*here + colour(number));
        }
    }
    return 0;
}

/* Colours of atoms and bonds, by `refine` of colours.py. */
static int refine(Memory *memory, const Crystal *c, const uint64_t *kinds, uint64_t *atoms, uint64_t *bonds) {
    ARRAY(uint64_t, messages, MESSAGES, c->bonds);
    ARRAY(uint64_t, shape, SHAPES, c->atoms);
    int64_t now, found = 0;
    while ((now = classes(memory, atoms, c->atoms, NULL, NULL, NULL)) > found) {
        found = now;
        for (int64_t b = 0; b < c->bonds; b++) {
            messages[b] = atoms[c->source[b] - c->before] * colour(c->lengths[b]);
            bonds[b] = mix(messages[b]);
        }
        if (shapes(memory, c, atoms, bonds, shape)) return -1;
        for (int64_t i = 0; i < c->atoms; i++) {
            uint64_t sum = ODD * atoms[i] + shape[i];
            for (int64_t b = c->start[i]; b < c->start[i + 1]; b++) sum += messages[b];
            atoms[i] = mix(sum);
        }
    }
    if (now < 0) return -1;
    for (int64_t b = 0; b < c->bonds; b++)
        bonds[b] = mix(ODD * atoms[c->target[b] - c->before] + atoms[c->source[b] - c->before] * colour(c->lengths[b]));
    found = 0;
    while (c->angles && (now = classes(memory, bonds, c->bonds, NULL, NULL, NULL)) > found) {
        found = now;
        for (int64_t b = 0; b < c->bonds; b++) {
            const int64_t v = c->source[b] - c->before;
            const uint64_t ends = mix(ODD * atoms[c->target[b] - c->before] + atoms[v]);
            const uint64_t *into = bonds + c->start[v];
            const int32_t *cosine = c->cosines + c->angle[b];
            const int64_t count = c->start[v + 1] - c->start[v];
            uint64_t sum = 0;
            for (int64_t f = 0; f < count; f++) sum += into[f] * kinds[cosine[f]];
            /* that with itself is there in the list all the same */
            if (!c->itself && b >= c->start[v] && b < c->start[v + 1]) sum -= bonds[b] * kinds[cosine[b - c->start[v]]];
            messages[b] = mix(ODD * bonds[b] + sum + ends);
        }
        memcpy(bonds, messages, c->bonds * sizeof *bonds);
        if (shapes(memory, c, atoms, bonds, shape)) return -1;
        for (int64_t i = 0; i < c->atoms; i++) {
            uint64_t sum = ODD * atoms[i] + shape[i];
            for (int64_t b = c->start[i]; b < c->start[i + 1]; b++) sum += bonds[b];
            atoms[i] = mix(sum);
        }
    }
    return now < 0 ? -1 : 0;
}

static int means(Memory *memory, const double *values, const int32_t *group, int64_t count, int64_t groups) {
    ARRAY(double, sums, MEANS, 2 * groups);
    memset(sums, 0, 2 * groups * sizeof *sums);
    for (int64_t i = 0; i < count; i++) {
        sums[2 * group[i]] += values[i];
        sums[2 * group[i] + 1]++;
    }
    for (int64_t i = 0; i < groups; i++) sums[2 * i] /= sums[2 * i + 1];
    return 0;
}

/* The quotient of one crystal; see merge.py. Returns the numbers of its atoms, bonds and angles in `sizes`. */
static int merge_one(Memory *memory, Crystal *c, const uint8_t *numbers, const double *vector, const double *length,
                     int64_t with_angles, int64_t *sizes, uint8_t *number, int32_t *atom_count, int32_t *place,
                     int32_t *source, int32_t *target, float *mean, int32_t *bond_count, float *harmonics,
                     int32_t *angle_source, int32_t *angle_target, float *angle_cosine, int32_t *angle_count) {
    const int64_t n = c->atoms, m = c->bonds;
    const double scale = FINENESS / c->tolerance;
    ARRAY(int64_t, start, START, n + 1);
    for (int64_t i = 0, b = 0; i <= n; start[i++] = b)
        while (b < m && c->target[b] - c->before < i) b++;
    c->start = start;
    ARRAY(int32_t, lengths, LENGTHS, m);
    const int64_t kinds_of_length = grouped(memory, length, m, scale, lengths);
    if (kinds_of_length < 0) return -1;
    c->lengths = lengths;
    c->angles = 0;
    double *cosine = NULL;
    uint64_t *kinds = NULL;
    int64_t kinds_of_cosine = 0;
    if (with_angles) {
        ARRAY(double, x, UNIT, 3 * m);
        double *y = x + m, *z = y + m;
        for (int64_t b = 0; b < m; b++) {
            x[b] = vector[3 * b] / length[b];
            y[b] = vector[3 * b + 1] / length[b];
            z[b] = vector[3 * b + 2] / length[b];
        }
        ARRAY(int64_t, angle, ANGLES, m + 1);
        for (int64_t b = 0; b < m; b++) {
            const int64_t v = c->source[b] - c->before;
            angle[b] = c->angles;
            c->angles += start[v + 1] - start[v];
        }
        c->angle = angle;
        cosine = room(&memory[COSINE], (c->angles + 1) * sizeof *cosine, 0);
        if (!cosine) return -1;
        for (int64_t b = 0; b < m; b++) {
            const int64_t v = c->source[b] - c->before, count = start[v + 1] - start[v];
            const double *p = x + start[v], *q = y + start[v], *r = z + start[v];
            double *restrict here = cosine + angle[b];
            for (int64_t f = 0; f < count; f++) {
                const double value = -(x[b] * p[f] + y[b] * q[f] + z[b] * r[f]);
                here[f] = MAX(-1.0, MIN(1.0, value));
            }
        }
        ARRAY(int32_t, cosines, COSINES, c->angles);
        kinds_of_cosine = grouped(memory, cosine, c->angles, scale, cosines);
        kinds = room(&memory[KINDS], (kinds_of_cosine + 1) * sizeof *kinds, 0);
        if (kinds_of_cosine < 0 || !kinds) return -1;
        for (int64_t i = 0; i < kinds_of_cosine; i++) kinds[i] = colour(i);
        c->cosines = cosines;
    }
    ARRAY(uint64_t, atoms, ATOMS, n);
    ARRAY(uint64_t, bonds, BONDS, m);
    for (int64_t i = 0; i < n; i++) atoms[i] = colour(numbers[i]);
    if (refine(memory, c, kinds, atoms, bonds)) return -1;

    ARRAY(int32_t, row, ROWS, n);
    ARRAY(int64_t, first, FIRSTS, n);
    sizes[0] = classes(memory, atoms, n, row, first, atom_count);
    if (sizes[0] < 0) return -1;
    /* bonds into the first atom of each class alone, then where their colours are among all */
    ARRAY(uint64_t, chosen, CHOSEN, 2 * m);
    int64_t *which = (int64_t *)(chosen + m), some = 0;
    for (int64_t i = 0; i < sizes[0]; i++) {
        number[i] = numbers[first[i]];
        for (int64_t b = start[first[i]]; b < start[first[i] + 1]; b++) {
            which[some] = b;
            chosen[some++] = bonds[b];
        }
    }
    for (int64_t i = 0; i < n; i++) place[i] = row[i];
    ARRAY(int64_t, bond_first, BOND_FIRSTS, m);
    ARRAY(int32_t, bond_row, BOND_ROWS, m);
    ARRAY(uint64_t, keys, KEYS, MAX(n, m));
    sizes[1] = classes(memory, chosen, some, bond_row, bond_first, bond_count);
    if (sizes[1] < 0 || means(memory, length, lengths, m, kinds_of_length)) return -1;
    const double *average = memory[MEANS].start;
    memset(harmonics, 0, sizes[1] * c->columns * sizeof *harmonics);
    for (int64_t i = 0; i < sizes[1]; i++) {
        const int64_t b = which[bond_first[i]];
        source[i] = row[c->source[b] - c->before];
        target[i] = row[c->target[b] - c->before];
        mean[i] = (float)average[2 * lengths[b]];
    }
    for (int64_t column = 0; column < c->columns; column++) {
        double *sums = room(&memory[MOMENTS], (sizes[1] + 1) * sizeof *sums, 0);
        if (!sums) return -1;
        memset(sums, 0, sizes[1] * sizeof *sums);
        for (int64_t i = 0; i < some; i++) sums[bond_row[i]] += c->directions[which[i] * c->columns + column];
        for (int64_t i = 0; i < sizes[1]; i++) harmonics[i * c->columns + column] = (float)sums[i];
    }
    sizes[2] = 0;
    if (!with_angles) return 0;
    ARRAY(int32_t, class_of, CLASSES, m);
    const int32_t *table = memory[TABLE].start;
    int64_t places = 16;
    while (places < 2 * some) places *= 2;
    for (int64_t b = 0; b < m; b++) {
        int64_t at = bonds[b] & (places - 1);
        while (table[at] >= 0 && chosen[table[at]] != bonds[b]) at = (at + 1) & (places - 1);
        if (table[at] < 0) return 1; /* cannot be: equal atoms have bonds of equal colours */
        class_of[b] = table[places + at];
    }
    if (means(memory, cosine, c->cosines, c->angles, kinds_of_cosine)) return -1;
    average = memory[MEANS].start;
    for (int64_t i = 0; i < sizes[1]; i++) {
        const int64_t b = which[bond_first[i]], v = c->source[b] - c->before;
        int64_t count = 0;
        for (int64_t f = start[v]; f < start[v + 1]; f++)
            if (c->itself || f != b)
                keys[count++] = (uint64_t)class_of[f] << 32 | (uint32_t)c->cosines[c->angle[b] + f - start[v]];
        sort(keys, count);
        for (int64_t f = 0; f < count; f++) {
            if (f && keys[f] == keys[f - 1]) {
                angle_count[sizes[2] - 1]++;
                continue;
            }
            angle_source[sizes[2]] = (int32_t)(keys[f] >> 32);
            angle_target[sizes[2]] = (int32_t)i;
            angle_cosine[sizes[2]] = (float)average[2 * (uint32_t)keys[f]];
            angle_count[sizes[2]++] = 1;
        }
    }
    return 0;
}

/* The quotients of crystals, one after another; `sizes` are atoms, bonds and angles of each. Returns 0, or 1 where
 * numpy is to do it. */
int64_t merge(int64_t crystals, const int64_t *num_atoms, const int64_t *num_bonds, const uint8_t *numbers,
              const int64_t *source, const int64_t *target, const double *vector, const double *length,
              const double *directions, int64_t columns, double tolerance, int64_t angles, int64_t itself,
              int64_t *sizes, uint8_t *number, int32_t *atom_count, int32_t *place, int32_t *bond_source,
              int32_t *bond_target, float *mean, int32_t *bond_count, float *harmonics, int32_t *angle_source,
              int32_t *angle_target, float *cosine, int32_t *angle_count) {
    Memory memory[MERGING] = {{0}};
    int64_t atoms = 0, bonds = 0, made[3] = {0}, status = 0;
    for (int64_t row = 0; row < crystals && !status; row++) {
        Crystal c = {
            .atoms = num_atoms[row], .bonds = num_bonds[row], .columns = columns, .source = source + bonds,
            .target = target + bonds, .before = atoms, .directions = directions + columns * bonds,
            .tolerance = tolerance, .itself = itself,
        };
        int64_t *own = sizes + 3 * row;
        status = merge_one(memory, &c, numbers + atoms, vector + 3 * bonds, length + bonds, angles, own,
                           number + made[0], atom_count + made[0], place + atoms, bond_source + made[1],
                           bond_target + made[1], mean + made[1], bond_count + made[1],
                           harmonics + columns * made[1], angle_source + made[2], angle_target + made[2],
                           cosine + made[2], angle_count + made[2]);
        atoms += num_atoms[row];
        bonds += num_bonds[row];
        for (int each = 0; each < 3; each++) made[each] += own[each];
    }
    for (int each = 0; each < MERGING; each++) free(memory[each].start);
    return status;
}
