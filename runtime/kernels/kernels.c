/* Int8 kernels of the browser page, compiled to WebAssembly by build.sh: an interpreter of layer records.
 *
 * fmnist_runtime/network/program.py writes the records and the constants; fmnist_runtime/network/layers.py defines what
 * each layer computes. All logits equal onnxruntime's to the bit: sums are integers, a float32 product is rounded before
 * anything is added, and rounding is half to even. WebAssembly has no fused multiply-add that a compiler could use.
 */
#include <stdint.h>
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

#define BLOCK 8 /* output channels that a convolution computes at a time, as in program.py */

/* ---- Records: offsets are bytes from the start of the network's memory -------------------------------------------- */

enum { END, CONVOLUTION, LOGITS, PRODUCT, MAX_POOL, MEAN_POOL, ADD, MULTIPLY, LOOKUP };

typedef struct {
    int32_t kind, bytes; /* of the whole record */
} header;

typedef struct {
    header head;
    int32_t input, output, padded;    /* padded: int16 [padded height, padded width, channels] */
    int32_t weight, bias, multiplier; /* weight: int8 [blocks, kernel height, pairs, BLOCK, 2] */
    int32_t height, width, channels;
    int32_t out_height, out_width, out_channels;
    int32_t pad_top, pad_left, padded_height, padded_width;
    int32_t kernel_height, pairs; /* pairs of values in a kernel row */
    int32_t stride_y, stride_x;
    int32_t zero_point, out_zero_point;
} convolution_record;

typedef struct {
    header head;
    int32_t input, output, weight, bias, multiplier, inputs, outputs;
} logits_record;

typedef struct {
    header head;
    int32_t input, output, matrix, rows, height, width, matrix_zero_point, zero_point, out_zero_point;
    float multiplier;
} product_record;

typedef struct {
    header head;
    int32_t input, output, width, channels, out_height, out_width, kernel_y, kernel_x, stride_y, stride_x;
} max_pool_record;

typedef struct {
    header head;
    int32_t input, output, positions, channels, zero_point, out_zero_point;
    float multiplier;
} mean_pool_record;

typedef struct {
    header head;
    int64_t factor_a, factor_b, offset;
    int32_t a, b, output, size, exceptions, count; /* exceptions: triples of bytes, a, b and the result */
} add_record;

typedef struct {
    header head;
    int64_t factor, offset;
    int32_t a, b, output, size, channels, zero_a, zero_b, exceptions, count;
} multiply_record;

typedef struct {
    header head;
    int32_t input, output, table, size;
} lookup_record;

/* ---- Convolution: a dense layer is one of 1x1 on 1x1 -------------------------------------------------------------- */

/* The next activation from a sum, as onnxruntime's MlasRequantizeOutput. */
static uint8_t requantize(int32_t sum, float multiplier, int32_t zero_point)
{
    const float low = (float)-zero_point, high = (float)(255 - zero_point);
    float value = (float)sum * multiplier;
    value = value > low ? value : low;
    value = value < high ? value : high;
    return (uint8_t)((int32_t)__builtin_rintf(value) + zero_point);
}

/* The input as int16, with padding around it. */
static void pad(const convolution_record *r, const uint8_t *input, int16_t *padded)
{
    const int32_t line = r->padded_width * r->channels, row = r->width * r->channels;
    for (int32_t i = 0; i < r->padded_height * line; i++) {
        padded[i] = (int16_t)r->zero_point;
    }
    for (int32_t y = 0; y < r->height; y++) {
        int16_t *target = padded + (y + r->pad_top) * line + r->pad_left * r->channels;
        for (int32_t i = 0; i < row; i++) {
            target[i] = input[y * row + i];
        }
    }
}

#ifdef __wasm_simd128__

/* BLOCK outputs of some neighboring positions: pairs of products are added in 32 bits, so nothing saturates. */
static inline __attribute__((always_inline)) void convolve_tile(const convolution_record *r, const int8_t *weight,
                                                                const int32_t *bias, const float *multiplier,
                                                                const int16_t *input, uint8_t *output, int lanes,
                                                                const int positions)
{
    const int32_t line = r->padded_width * r->channels, step = r->stride_x * r->channels;
    v128_t sums[4][2];
    for (int p = 0; p < positions; p++) {
        sums[p][0] = wasm_v128_load(bias);
        sums[p][1] = wasm_v128_load(bias + 4);
    }
    for (int32_t k = 0; k < r->kernel_height; k++, input += line) {
        const int16_t *pair = input;
        for (int32_t i = 0; i < r->pairs; i++, pair += 2, weight += 2 * BLOCK) {
            const v128_t left = wasm_i16x8_load8x8(weight), right = wasm_i16x8_load8x8(weight + BLOCK);
            for (int p = 0; p < positions; p++) {
                const v128_t x = wasm_v128_load32_splat(pair + p * step);
                sums[p][0] = wasm_i32x4_add(sums[p][0], wasm_i32x4_dot_i16x8(x, left));
                sums[p][1] = wasm_i32x4_add(sums[p][1], wasm_i32x4_dot_i16x8(x, right));
            }
        }
    }
    const v128_t zero_point = wasm_i32x4_splat(r->out_zero_point);
    const v128_t low = wasm_f32x4_splat((float)-r->out_zero_point);
    const v128_t high = wasm_f32x4_splat((float)(255 - r->out_zero_point));
    for (int p = 0; p < positions; p++, output += r->out_channels) {
        v128_t found[2];
        for (int h = 0; h < 2; h++) {
            v128_t value = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sums[p][h]), wasm_v128_load(multiplier + 4 * h));
            value = wasm_f32x4_nearest(wasm_f32x4_min(wasm_f32x4_max(value, low), high));
            found[h] = wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(value), zero_point);
        }
        const v128_t words = wasm_i16x8_narrow_i32x4(found[0], found[1]);
        const v128_t bytes = wasm_u8x16_narrow_i16x8(words, words);
        if (lanes == BLOCK) {
            wasm_v128_store64_lane(output, bytes, 0);
        } else {
            uint8_t values[16];
            wasm_v128_store(values, bytes);
            for (int c = 0; c < lanes; c++) {
                output[c] = values[c];
            }
        }
    }
}

#else

static inline __attribute__((always_inline)) void convolve_tile(const convolution_record *r, const int8_t *weight,
                                                                const int32_t *bias, const float *multiplier,
                                                                const int16_t *input, uint8_t *output, int lanes,
                                                                const int positions)
{
    const int32_t line = r->padded_width * r->channels, step = r->stride_x * r->channels;
    for (int c = 0; c < lanes; c++) {
        int32_t sums[4];
        for (int p = 0; p < positions; p++) {
            sums[p] = bias[c];
        }
        const int8_t *w = weight + 2 * c;
        for (int32_t k = 0; k < r->kernel_height; k++) {
            const int16_t *pair = input + k * line;
            for (int32_t i = 0; i < r->pairs; i++, pair += 2, w += 2 * BLOCK) {
                for (int p = 0; p < positions; p++) {
                    sums[p] += pair[p * step] * w[0] + pair[p * step + 1] * w[1];
                }
            }
        }
        for (int p = 0; p < positions; p++) {
            output[p * r->out_channels + c] = requantize(sums[p], multiplier[c], r->out_zero_point);
        }
    }
}

#endif

static void convolve(const convolution_record *r, uint8_t *memory)
{
    int16_t *padded = (int16_t *)(memory + r->padded);
    pad(r, memory + r->input, padded);
    const int32_t line = r->padded_width * r->channels, step = r->stride_x * r->channels;
    const int32_t block = r->kernel_height * r->pairs * 2 * BLOCK;
    for (int32_t y = 0; y < r->out_height; y++) {
        const int16_t *row = padded + y * r->stride_y * line;
        uint8_t *output = memory + r->output + y * r->out_width * r->out_channels;
        for (int32_t first = 0; first < r->out_channels; first += BLOCK) {
            const int8_t *weight = (const int8_t *)memory + r->weight + first / BLOCK * block;
            const int32_t *bias = (const int32_t *)(memory + r->bias) + first;
            const float *multiplier = (const float *)(memory + r->multiplier) + first;
            const int32_t rest = r->out_channels - first, lanes = rest < BLOCK ? rest : BLOCK;
            int32_t x = 0;
            for (; x + 4 <= r->out_width; x += 4) {
                convolve_tile(r, weight, bias, multiplier, row + x * step, output + x * r->out_channels + first, lanes, 4);
            }
            for (; x < r->out_width; x++) {
                convolve_tile(r, weight, bias, multiplier, row + x * step, output + x * r->out_channels + first, lanes, 1);
            }
        }
    }
}

/* ---- Other layers ------------------------------------------------------------------------------------------------- */

static void dense_logits(const logits_record *r, uint8_t *memory)
{
    const uint8_t *input = memory + r->input;
    const int8_t *weight = (const int8_t *)memory + r->weight;
    const int32_t *bias = (const int32_t *)(memory + r->bias);
    const float *multiplier = (const float *)(memory + r->multiplier);
    float *output = (float *)(memory + r->output);
    for (int32_t o = 0; o < r->outputs; o++, weight += r->inputs) {
        int32_t sum = bias[o];
        for (int32_t i = 0; i < r->inputs; i++) {
            sum += input[i] * weight[i];
        }
        output[o] = (float)sum * multiplier[o];
    }
}

/* Constant matrix times one channel: output[row][x] is the sum over y of matrix[row][y] * input[y][x]. */
static void product(const product_record *r, uint8_t *memory)
{
    const uint8_t *matrix = memory + r->matrix, *input = memory + r->input;
    uint8_t *output = memory + r->output;
    for (int32_t row = 0; row < r->rows; row++, matrix += r->height) {
        for (int32_t x = 0; x < r->width; x++) {
            int32_t sum = 0;
            for (int32_t y = 0; y < r->height; y++) {
                sum += (matrix[y] - r->matrix_zero_point) * (input[y * r->width + x] - r->zero_point);
            }
            *output++ = requantize(sum, r->multiplier, r->out_zero_point);
        }
    }
}

static void max_pool(const max_pool_record *r, uint8_t *memory)
{
    uint8_t *output = memory + r->output;
    for (int32_t y = 0; y < r->out_height; y++) {
        for (int32_t x = 0; x < r->out_width; x++, output += r->channels) {
            const uint8_t *window = memory + r->input + (y * r->stride_y * r->width + x * r->stride_x) * r->channels;
            for (int32_t c = 0; c < r->channels; c++) {
                uint8_t largest = 0;
                for (int32_t k = 0; k < r->kernel_y * r->kernel_x; k++) {
                    const uint8_t value = window[(k / r->kernel_x * r->width + k % r->kernel_x) * r->channels + c];
                    largest = largest > value ? largest : value;
                }
                output[c] = largest;
            }
        }
    }
}

/* Mean over all positions. */
static void mean_pool(const mean_pool_record *r, uint8_t *memory)
{
    const uint8_t *input = memory + r->input;
    for (int32_t c = 0; c < r->channels; c++) {
        int32_t sum = -r->positions * r->zero_point;
        for (int32_t i = 0; i < r->positions; i++) {
            sum += input[i * r->channels + c];
        }
        memory[r->output + c] = requantize(sum, r->multiplier, r->out_zero_point);
    }
}

/* A fixed-point sum with 32 fractional bits as a byte, unless the pair is one of the exceptions. */
static uint8_t fixed_to_byte(int64_t value, uint8_t a, uint8_t b, const uint8_t *exceptions, int32_t count)
{
    for (int32_t e = 0; e < count; e++, exceptions += 3) {
        if (exceptions[0] == a && exceptions[1] == b) {
            return exceptions[2];
        }
    }
    const int64_t whole = value >> 32;
    return (uint8_t)(whole < 0 ? 0 : whole > 255 ? 255 : whole);
}

static void add(const add_record *r, uint8_t *memory)
{
    for (int32_t i = 0; i < r->size; i++) {
        const uint8_t a = memory[r->a + i], b = memory[r->b + i];
        const int64_t sum = a * r->factor_a + b * r->factor_b + r->offset;
        memory[r->output + i] = fixed_to_byte(sum, a, b, memory + r->exceptions, r->count);
    }
}

/* Product with one value for each channel. */
static void multiply(const multiply_record *r, uint8_t *memory)
{
    for (int32_t i = 0; i < r->size; i++) {
        const uint8_t a = memory[r->a + i], b = memory[r->b + i % r->channels];
        const int64_t sum = (a - r->zero_a) * (b - r->zero_b) * r->factor + r->offset;
        memory[r->output + i] = fixed_to_byte(sum, a, b, memory + r->exceptions, r->count);
    }
}

static void lookup(const lookup_record *r, uint8_t *memory)
{
    for (int32_t i = 0; i < r->size; i++) {
        memory[r->output + i] = memory[r->table + memory[r->input + i]];
    }
}

/* Computes all layers.
 * memory: activations, then constants; layers: first record. Returns 0, or the number of an unknown kind. */
__attribute__((export_name("run"))) int32_t run(uint8_t *memory, const uint8_t *layers)
{
    for (;; layers += ((const header *)layers)->bytes) {
        switch (((const header *)layers)->kind) {
        case END: return 0;
        case CONVOLUTION: convolve((const convolution_record *)layers, memory); break;
        case LOGITS: dense_logits((const logits_record *)layers, memory); break;
        case PRODUCT: product((const product_record *)layers, memory); break;
        case MAX_POOL: max_pool((const max_pool_record *)layers, memory); break;
        case MEAN_POOL: mean_pool((const mean_pool_record *)layers, memory); break;
        case ADD: add((const add_record *)layers, memory); break;
        case MULTIPLY: multiply((const multiply_record *)layers, memory); break;
        case LOOKUP: lookup((const lookup_record *)layers, memory); break;
        default: return ((const header *)layers)->kind;
        }
    }
}
