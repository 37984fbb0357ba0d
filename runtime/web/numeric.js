// Arithmetic of Python and numpy that differs from JavaScript's.

/**
 * Rounds half to even, as Python's round() and numpy.rint().
 * @param {number} value
 */
export function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Limits a value to a range.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * Returns numpy.linspace(-1, 1, count).
 * @param {number} count
 */
export function minusOneToOne(count) {
  const step = 2 / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? 1 : i * step - 1));
}

/**
 * Solves a·x = b by elimination with pivots; overwrites both, and returns the rows of x.
 * @param {number[][]} a n rows of n.
 * @param {number[][]} b n rows of m.
 */
export function solve(a, b) {
  const n = a.length;
  const subtract = (/** @type {number[]} */ row, /** @type {number[]} */ from, /** @type {number} */ factor) =>
    row.forEach((_, k) => (row[k] -= factor * from[k]));
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) if (Math.abs(a[row][column]) > Math.abs(a[pivot][column])) pivot = row;
    [a[column], a[pivot]] = [a[pivot], a[column]];
    [b[column], b[pivot]] = [b[pivot], b[column]];
    for (let row = 0; row < n; row++) {
      if (row === column) continue;
      const factor = a[row][column] / a[column][column];
      subtract(a[row], a[column], factor);
      subtract(b[row], b[column], factor);
    }
  }
  return b.map((row, i) => row.map((value) => value / a[i][i]));
}
