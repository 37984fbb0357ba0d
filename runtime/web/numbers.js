// Arithmetic as Python and numpy do it, where JavaScript's own differs.

/** Round half to even, as Python's round() and numpy.rint() do. */
export function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** numpy.linspace(-1, 1, count). */
export function minusOneToOne(count) {
  const step = 2 / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? 1 : i * step - 1));
}

/** numpy.percentile of one share (0 to 100), linear between neighbours; share 50 is the median. */
export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const position = (share / 100) * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, sorted.length - 1)];
  const part = position - below;
  return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
}

/** Solve a·x = b by elimination with pivots: a is n×n, b n×m, both arrays of rows and both overwritten; x is left in b. */
export function solve(a, b) {
  const n = a.length;
  const minus = (row, from, factor) => row.forEach((_, k) => (row[k] -= factor * from[k]));
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) if (Math.abs(a[row][column]) > Math.abs(a[pivot][column])) pivot = row;
    [a[column], a[pivot]] = [a[pivot], a[column]];
    [b[column], b[pivot]] = [b[pivot], b[column]];
    for (let row = 0; row < n; row++) {
      if (row === column) continue;
      const factor = a[row][column] / a[column][column];
      minus(a[row], a[column], factor);
      minus(b[row], b[column], factor);
    }
  }
  return b.map((row, i) => row.map((value) => value / a[i][i]));
}
