// Take away whoever wears the garment: head, skin, and the clothes above or below it. The rules, and why, are told in
// fmnist_runtime/wearer.py; this is the same arithmetic, step by step.

import { percentile } from "./numbers.js";
import { bounds, boxBlur, components, count, largeParts, luma, tally, toLab } from "./pixels.js";

const WAIST_STEP = 10;
const WAIST = 0.03;
const BARE = 0.25;
const CRUMB = 0.1;
const LIKE_THE_FACE = 15e6;

/** The part of the mask that is the garment itself. */
export function withoutWearer({ rgba, width, height }, mask) {
  const { top, bottom, left, right } = bounds(mask, width);
  if (bottom - top <= 1.05 * (right - left)) return mask; // wider than a standing person
  const cutAbove = top <= 2, cutBelow = bottom >= height - 2;
  const skin = findSkin(rgba, mask, width, top, bottom);
  const head = headRow(mask, skin, width, top, bottom);
  let garment = mask.slice();
  if (head !== null) garment.fill(0, 0, head * width);
  const share = count(skin) / count(mask);
  if (head !== null || ((cutAbove || cutBelow) && share > 0.01 && share < 0.35)) {
    garment = garment.map((value, i) => value & !skin[i]);
  }
  if (head !== null || cutAbove || cutBelow) {
    garment = withoutNeighbour(rgba, garment, width, cutAbove && head === null, cutBelow || head !== null);
  }
  const label = components(garment, width);
  garment = largeParts(label, tally(label, garment), CRUMB);
  return count(garment) >= 0.25 * count(mask) ? garment : mask;
}

function findSkin(rgba, mask, width, top, bottom) {
  const pixels = Array.from(mask, (_, i) => rgba.subarray(4 * i, 4 * i + 3));
  const greys = pixels.map(([red, green, blue]) => luma(red, green, blue));
  const cb = pixels.map(([, , blue], i) => 564 * (1000 * blue - greys[i]));
  const cr = pixels.map(([red], i) => 713 * (1000 * red - greys[i]));
  const box = mask.map((value, i) =>
    value & (cb[i] > -48e6 && cb[i] < -3e6 && cr[i] > 8e6 && cr[i] < 44e6 && greys[i] > 50e3));
  const share = boxBlur(box, width);
  let skin = mask.map((value, i) => value & (share[i] > 0.5));
  const [begin, end] = [top * width, (top + Math.floor((bottom - top) / 4)) * width];
  const face = skin.slice(begin, end);
  if (count(skin) <= BARE * count(mask) || !count(face)) return skin;
  for (const plane of [cb, cr]) {
    const middle = percentile(plane.slice(begin, end).filter((_, i) => face[i]), 50);
    skin = skin.map((value, i) => value & (Math.abs(plane[i] - middle) < LIKE_THE_FACE));
  }
  return skin;
}

function rowWidths(mask, width) {
  return Array.from({ length: mask.length / width }, (_, row) => count(mask.subarray(row * width, (row + 1) * width)));
}

/** The rows and columns of all pixels of one label, in order. */
function places(label, part, width) {
  const rows = [], columns = [];
  label.forEach((value, i) => {
    if (value !== part) return;
    rows.push(Math.floor(i / width));
    columns.push(i % width);
  });
  return { rows, columns };
}

/** The row where the head ends and the garment begins, or null where there is no head. */
function headRow(mask, skin, width, top, bottom) {
  const height = bottom - top;
  const widths = rowWidths(mask, width);
  const start = top + Math.floor(height / 3);
  const below = places(mask.slice(start * width, bottom * width), 1, width).columns;
  const axis = below.length ? percentile(below, 50) : width / 2;
  const body = percentile(widths.slice(start, bottom), 80);
  const label = components(skin, width);
  const size = tally(label);
  const parts = Array.from(size.keys()).filter((part) => part && size[part]);
  parts.sort((a, b) => size[b] - size[a] || b - a);
  for (const part of parts.slice(0, 4)) {
    if (size[part] < 0.006 * count(mask)) return null;
    const { rows, columns } = places(label, part, width);
    const high = percentile(rows, 50) < top + 0.36 * height;
    const central = Math.abs(percentile(columns, 50) - axis) < 0.3 * body
      && percentile(columns, 95) - percentile(columns, 5) < 0.62 * body;
    const face = widths.slice(Math.trunc(percentile(rows, 15)), Math.trunc(percentile(rows, 85)) + 1);
    if (high && central && percentile(face, 50) < 0.66 * body) return shoulderRow(widths, rows, top, bottom);
  }
  return null;
}

/** A little above the first row below the face that is nearly as wide as the body. */
function shoulderRow(widths, faceRows, top, bottom) {
  const height = bottom - top;
  const body = percentile(widths.slice(top + Math.floor(height / 3), bottom), 70);
  const middle = percentile(faceRows, 50);
  let shoulder = Math.trunc(percentile(faceRows, 90));
  for (let row = bottom - 1; row >= top; row--) if (widths[row] > 0.72 * body && row > middle) shoulder = row;
  shoulder = Math.min(shoulder, top + Math.trunc(0.45 * height));
  return Math.trunc(Math.max(percentile(faceRows, 60), shoulder - 0.06 * height));
}

/** Cut at the waist, if there is one: the row where the mean colours above and below differ most. */
function withoutNeighbour(rgba, mask, width, above, below) {
  const widths = rowWidths(mask, width);
  if (widths.filter((value) => value).length <= 10) return mask;
  const { top, bottom } = bounds(mask, width);
  const meanColour = colourOfRows(rgba, mask, width, widths);
  const window = Math.max(4, Math.trunc(0.14 * (bottom - top)));
  let most = WAIST_STEP, waist = null;
  for (let row = top + Math.floor(window / 2); row < bottom - Math.floor(window / 2); row++) {
    const share = (row - top) / (bottom - top);
    if (!((below && share > 0.55) || (above && share < 0.45))) continue;
    const upper = meanColour(Math.max(top, row - window), row - 1);
    const lower = meanColour(row + 1, Math.min(bottom, row + window));
    if (!upper || !lower) continue;
    const step = Math.sqrt([0.7, 1, 1].reduce((sum, weight, c) => sum + ((upper[c] - lower[c]) * weight) ** 2, 0));
    if (step > most) [most, waist] = [step, row];
  }
  if (waist === null) return mask;
  const kept = mask.slice(), reach = Math.trunc(WAIST * (bottom - top));
  return (waist - top) / (bottom - top) > 0.5
    ? kept.fill(0, (waist - reach) * width) : kept.fill(0, 0, (waist + reach) * width);
}

/** A function that gives the mean CIELAB colour of the mask between two rows, or null where it is too small to say. */
function colourOfRows(rgba, mask, width, widths) {
  const lab = toLab(rgba);
  const sums = [{ pixels: 0, colour: [0, 0, 0] }]; // of all rows before each
  widths.forEach((pixels, row) => {
    const before = sums[row];
    const colour = lab.map((plane, c) => {
      let sum = 0;
      for (let i = row * width; i < (row + 1) * width; i++) sum += plane[i] * mask[i];
      return before.colour[c] + sum;
    });
    sums.push({ pixels: before.pixels + pixels, colour });
  });
  return (begin, end) => {
    const pixels = sums[end].pixels - sums[begin].pixels;
    return pixels < 8 ? null : sums[end].colour.map((value, c) => (value - sums[begin].colour[c]) / pixels);
  };
}
