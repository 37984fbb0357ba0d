// Tools on arrays of pixels, as in fmnist_runtime/pixels.py. Pixels come as RGBA, four bytes each; masks are Uint8Array of
// 0 and 1; every array is flat, row by row.

import { round } from "./numbers.js";

const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const share = value / 255;
  return round(65535 * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
});
// The rows X, Y, Z of the matrix, each over the white point's, in 1/32768; each sums to 32768.
const X = [14217, 12328, 6223], Y = [6966, 23436, 2366], Z = [581, 3587, 28600];
const CURVE = Float64Array.from({ length: 65536 }, (_, index) => {
  const t = index / 65535;
  return round(65536 * (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116)) / 65536;
});

const curve = (row, red, green, blue) => CURVE[(red * row[0] + green * row[1] + blue * row[2]) >> 15];

/** sRGB to CIELAB (D65): three planes L, a, b of float32. */
export function toLab(rgba) {
  const count = rgba.length / 4;
  const lab = [0, 1, 2].map(() => new Float32Array(count));
  for (let i = 0, at = 0; i < count; i++, at += 4) {
    const red = LINEAR[rgba[at]], green = LINEAR[rgba[at + 1]], blue = LINEAR[rgba[at + 2]];
    const x = curve(X, red, green, blue), y = curve(Y, red, green, blue), z = curve(Z, red, green, blue);
    lab[0][i] = 116 * y - 16;
    lab[1][i] = 500 * (x - y);
    lab[2][i] = 200 * (y - z);
  }
  return lab;
}

/** Lightness as television has it (BT.601), in thousandths. */
export const luma = (red, green, blue) => 299 * red + 587 * green + 114 * blue;

/** Label the 4-connected parts of a mask: 0 outside, else one more than the index of the part's last pixel. */
export function components(mask, width) {
  const label = new Int32Array(mask.length);
  const todo = [];
  for (let start = mask.length - 1; start >= 0; start--) {
    if (!mask[start] || label[start]) continue;
    const visit = (index) => {
      if (!mask[index] || label[index]) return;
      label[index] = start + 1;
      todo.push(index);
    };
    visit(start);
    while (todo.length) {
      const index = todo.pop();
      const column = index % width;
      if (column > 0) visit(index - 1);
      if (column < width - 1) visit(index + 1);
      visit(index - width); // outside the picture there is nothing to read, hence no mask
      visit(index + width);
    }
  }
  return label;
}

/** Mean over a square of 3×3 pixels; the border is repeated outwards. */
export function boxBlur(values, width) {
  const height = values.length / width;
  const down = new Float64Array(values.length);
  const inside = (index, limit) => Math.min(Math.max(index, 0), limit - 1);
  for (let y = 0; y < height; y++) {
    const [above, here, below] = [y - 1, y, y + 1].map((row) => inside(row, height) * width);
    for (let x = 0; x < width; x++) down[here + x] = values[above + x] + values[here + x] + values[below + x];
  }
  const mean = new Float64Array(values.length);
  for (let y = 0; y < values.length; y += width) {
    for (let x = 0; x < width; x++) {
      mean[y + x] = (down[y + inside(x - 1, width)] + down[y + x] + down[y + inside(x + 1, width)]) / 9;
    }
  }
  return mean;
}

/** How many pixels carry each label, or the sum of their weights. */
export function tally(label, weight) {
  const total = new Float64Array(label.reduce((most, value) => Math.max(most, value), 0) + 1);
  for (let i = 0; i < label.length; i++) total[label[i]] += weight ? weight[i] : 1;
  return total;
}

/** The mask of those labels whose size is over this share of the largest. */
export function largeParts(label, size, share) {
  const least = share * size.reduce((a, b) => Math.max(a, b));
  return Uint8Array.from(label, (value) => value && size[value] > least);
}

export const count = (mask) => mask.reduce((total, value) => total + value, 0);

/** The smallest box that holds a mask: the first row and column, and one behind the last. */
export function bounds(mask, width) {
  let top = Infinity, bottom = 0, left = Infinity, right = 0;
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const row = Math.floor(i / width), column = i % width;
    top = Math.min(top, row);
    bottom = row + 1;
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
  }
  return { top, bottom, left, right };
}
