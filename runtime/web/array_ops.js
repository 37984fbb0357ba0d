// Operations on pixel arrays, as fmnist_runtime/preprocessing/array_ops.py. Pixels are RGBA, four bytes each; masks are
// Uint8Array of 0 and 1; every array is flat, row by row.

import { round } from "./numeric.js";

/**
 * @typedef {object} RgbaImage An upright image in memory.
 * @property {Uint8ClampedArray | Uint8Array} rgba Four bytes a pixel.
 * @property {number} width In pixels.
 * @property {number} height In pixels.
 */

const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const share = value / 255;
  return round(65535 * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
});
// From linear RGB to X, Y, Z over those of the white point, in 1/32768; each row sums to 32768.
const X = [14217, 12328, 6223];
const Y = [6966, 23436, 2366];
const Z = [581, 3587, 28600];
const CURVE = Float64Array.from({ length: 65536 }, (_, index) => {
  const t = index / 65535;
  return round(65536 * (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116)) / 65536;
});

/**
 * Converts sRGB to CIELAB (D65).
 * @param {Uint8ClampedArray | Uint8Array} rgba
 * @returns {Float32Array[]} The planes L, a, b.
 */
export function toLab(rgba) {
  const count = rgba.length / 4;
  const lab = [0, 1, 2].map(() => new Float32Array(count));
  for (let i = 0, at = 0; i < count; i++, at += 4) {
    const [x, y, z] = [X, Y, Z].map(
      (row) => CURVE[(LINEAR[rgba[at]] * row[0] + LINEAR[rgba[at + 1]] * row[1] + LINEAR[rgba[at + 2]] * row[2]) >> 15],
    );
    lab[0][i] = 116 * y - 16;
    lab[1][i] = 500 * (x - y);
    lab[2][i] = 200 * (y - z);
  }
  return lab;
}

/**
 * Returns the lightness of BT.601, in thousandths.
 * @param {number} red
 * @param {number} green
 * @param {number} blue
 */
export const luma = (red, green, blue) => 299 * red + 587 * green + 114 * blue;

/**
 * Returns one percentile, as numpy.percentile with linear interpolation.
 * @param {ArrayLike<number>} values
 * @param {number} share Percentile, 0 to 100; 50 is the median.
 */
export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const position = (share / 100) * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, sorted.length - 1)];
  const part = position - below;
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

/**
 * Sums each value and its two neighbors with the weights 1, 2, 1, along each axis of a flattened array.
 * @param {Float64Array} values
 * @param {number[]} strides Distance between neighbors along each axis.
 * @returns {Float64Array} Shorter by twice the sum of the strides.
 */
export function binomialSum(values, strides) {
  for (const stride of strides.flatMap((step) => [step, step])) {
    const sums = new Float64Array(values.length - stride);
    for (let i = 0; i < sums.length; i++) sums[i] = values[i] + values[i + stride];
    values = sums;
  }
  return values;
}

/**
 * Counts the set pixels among the 3×3 around each pixel; the border is repeated outwards.
 * @param {Uint8Array} mask
 * @param {number} width
 */
export function neighborCount(mask, width) {
  const height = mask.length / width;
  const total = new Uint8Array(mask.length);
  for (let y = 0, i = 0; y < height; y++) {
    const rows = [Math.max(y - 1, 0), y, Math.min(y + 1, height - 1)];
    for (let x = 0; x < width; x++, i++) {
      const [left, right] = [Math.max(x - 1, 0), Math.min(x + 1, width - 1)];
      for (const row of rows) total[i] += mask[row * width + left] + mask[row * width + x] + mask[row * width + right];
    }
  }
  return total;
}

/**
 * Doubles the resolution by linear interpolation, and returns a mask of the positive results.
 * @param {Float64Array} values Values at every second pixel of every second row; the last are repeated.
 * @param {number} width Of the result.
 * @param {number} height Of the result.
 */
export function positiveAtDouble(values, width, height) {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const mask = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    const upper = (y >> 1) * columns;
    const lower = Math.min((y + 1) >> 1, rows - 1) * columns;
    for (let x = 0; x < width; x++, i++) {
      const [left, right] = [x >> 1, Math.min((x + 1) >> 1, columns - 1)];
      mask[i] = Number(
        values[upper + left] + values[lower + left] + (values[upper + right] + values[lower + right]) > 0,
      );
    }
  }
  return mask;
}

/** The 4-connected components of a mask. The number of a component is one more than the index of its last pixel. */
export class Components {
  /**
   * @param {Uint8Array} mask
   * @param {number} width
   */
  constructor(mask, width) {
    /** Number of each pixel's component, 0 outside of the mask. */
    this.label = new Int32Array(mask.length);
    /** @type {number[]} */
    const pending = [];
    for (let start = mask.length - 1; start >= 0; start--) {
      const visit = (/** @type {number} */ index) => {
        if (!mask[index] || this.label[index]) return;
        this.label[index] = start + 1;
        pending.push(index);
      };
      visit(start);
      for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
        const column = index % width;
        if (column > 0) visit(index - 1);
        if (column < width - 1) visit(index + 1);
        visit(index - width); // outside of the image the mask is undefined, so the pixel is not visited
        visit(index + width);
      }
    }
  }

  /**
   * Returns the number of pixels of each component, or the sum of their weights.
   * @param {ArrayLike<number>} [weight] Weight of each pixel.
   */
  sizes(weight) {
    const total = new Float64Array(this.label.reduce((most, value) => Math.max(most, value), 0) + 1);
    this.label.forEach((component, i) => {
      if (component) total[component] += weight ? weight[i] : 1;
    });
    return total;
  }

  /**
   * Returns the mask of the chosen components.
   * @param {(component: number) => boolean} chosen
   */
  mask(chosen) {
    return Uint8Array.from(this.label, (component) => Number(component > 0 && chosen(component)));
  }

  /**
   * Returns the mask of the components whose size exceeds this share of the largest.
   * @param {Float64Array} size
   * @param {number} share
   */
  large(size, share) {
    const least = share * size.reduce((a, b) => Math.max(a, b), 0);
    return this.mask((component) => size[component] > least);
  }
}

/**
 * Counts the set pixels of a mask.
 * @param {Uint8Array} mask
 */
export const count = (mask) => mask.reduce((total, value) => total + value, 0);

/**
 * Returns the smallest box that holds a mask: first row and column, and end row and column (exclusive).
 * @param {Uint8Array} mask
 * @param {number} width
 */
export function bounds(mask, width) {
  let [top, bottom, left, right] = [Infinity, 0, Infinity, 0];
  mask.forEach((value, i) => {
    if (!value) return;
    const [row, column] = [Math.floor(i / width), i % width];
    top = Math.min(top, row);
    bottom = row + 1;
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
  });
  return { top, bottom, left, right };
}
