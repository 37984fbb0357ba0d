// Removal of the person from the foreground, as in fmnist_runtime/preprocessing/person.py, which explains the rules.

import { bounds, Components, count, luma, neighborCount, percentile, toLab } from "./array_ops.js";
import { PARAMETERS } from "./parameters.js";

const P = PARAMETERS.person;

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */

/**
 * Removes the person from a mask.
 * @param {RgbaImage} image
 * @param {Uint8Array} mask Foreground: garment and person.
 */
export function removePerson({ rgba, width, height }, mask) {
  const { top, bottom, left, right } = bounds(mask, width);
  if (bottom - top <= P.min_aspect * (right - left)) return mask;
  const cutAbove = top <= P.cut_margin;
  const cutBelow = bottom >= height - P.cut_margin;
  const skin = skinMask(rgba, mask, width, top, bottom);
  const head = headRow(mask, skin, width, top, bottom);
  /** @type {Uint8Array} */
  let garment = mask.slice();
  if (head !== null) garment.fill(0, 0, head * width);
  const share = count(skin) / count(mask);
  if (head !== null || ((cutAbove || cutBelow) && share > P.skin_min_share && share < P.skin_max_share)) {
    garment = garment.map((value, i) => value & (1 - skin[i]));
  }
  if (head !== null || cutAbove || cutBelow) {
    garment = cutAtWaist(rgba, garment, width, cutAbove && head === null, cutBelow || head !== null);
  }
  const components = new Components(garment, width);
  garment = components.large(components.sizes(), P.part_share);
  return count(garment) >= P.min_garment_share * count(mask) ? garment : mask;
}

/**
 * Finds the pixels with the color of skin.
 * @param {RgbaImage["rgba"]} rgba
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {number} top
 * @param {number} bottom
 */
function skinMask(rgba, mask, width, top, bottom) {
  const [cb, cr, lightness] = chroma(rgba);
  const within = (/** @type {number} */ value, /** @type {number[]} */ [low, high]) =>
    value > low * 1e6 && value < high * 1e6;
  const box = mask.map(
    (value, i) =>
      value & Number(within(cb[i], P.cb_range) && within(cr[i], P.cr_range) && lightness[i] > P.min_luma * 1e3),
  );
  const neighbors = neighborCount(box, width);
  let skin = mask.map((value, i) => value & Number(neighbors[i] >= P.skin_neighbors));
  const [begin, end] = [top * width, (top + Math.floor((bottom - top) / P.face_quarter)) * width];
  const face = skin.slice(begin, end);
  if (count(skin) <= P.bare_share * count(mask) || !count(face)) return skin;
  for (const plane of [cb, cr]) {
    const middle = percentile(
      plane.slice(begin, end).filter((_, i) => face[i]),
      50,
    );
    skin = skin.map((value, i) => value & Number(Math.abs(plane[i] - middle) < P.face_tolerance * 1e6));
  }
  return skin;
}

/**
 * Returns Cb - 128 and Cr - 128 in millionths, and the lightness in thousandths: integers.
 * @param {RgbaImage["rgba"]} rgba
 */
function chroma(rgba) {
  const [cb, cr, lightness] = [0, 1, 2].map(() => new Float64Array(rgba.length / 4));
  for (let i = 0; i < lightness.length; i++) {
    const [red, green, blue] = rgba.subarray(4 * i, 4 * i + 3);
    lightness[i] = luma(red, green, blue);
    cb[i] = 564 * (1000 * blue - lightness[i]);
    cr[i] = 713 * (1000 * red - lightness[i]);
  }
  return [cb, cr, lightness];
}

/**
 * Returns the number of set pixels of each row.
 * @param {Uint8Array} mask
 * @param {number} width
 */
function rowWidths(mask, width) {
  return Array.from({ length: mask.length / width }, (_, row) => count(mask.subarray(row * width, (row + 1) * width)));
}

/**
 * Returns the rows and columns of all pixels with one value, in order.
 * @param {ArrayLike<number>} values
 * @param {number} wanted
 * @param {number} width
 */
function pixelPositions(values, wanted, width) {
  /** @type {number[]} */
  const rows = [];
  /** @type {number[]} */
  const columns = [];
  Array.from(values).forEach((value, i) => {
    if (value !== wanted) return;
    rows.push(Math.floor(i / width));
    columns.push(i % width);
  });
  return { rows, columns };
}

/**
 * Returns the row where the head ends and the garment begins, or null where there is no head.
 * @param {Uint8Array} mask
 * @param {Uint8Array} skin
 * @param {number} width
 * @param {number} top
 * @param {number} bottom
 */
function headRow(mask, skin, width, top, bottom) {
  const height = bottom - top;
  const widths = rowWidths(mask, width);
  const start = top + Math.floor(height / P.upper_part);
  const below = pixelPositions(mask.slice(start * width, bottom * width), 1, width).columns;
  const axis = below.length ? percentile(below, 50) : width / 2;
  const body = percentile(widths.slice(start, bottom), P.body_percentile);
  const components = new Components(skin, width);
  const size = components.sizes();
  const parts = Array.from(size.keys()).filter((part) => size[part]);
  parts.sort((a, b) => size[b] - size[a] || b - a);
  for (const part of parts.slice(0, P.max_faces)) {
    if (size[part] < P.face_min_share * count(mask)) return null;
    const { rows, columns } = pixelPositions(components.label, part, width);
    const [left, right] = P.face_columns.map((share) => percentile(columns, share));
    const [first, last] = P.face_rows.map((share) => Math.trunc(percentile(rows, share)));
    const high = percentile(rows, 50) < top + P.face_max_row * height;
    const central = Math.abs(percentile(columns, 50) - axis) < P.face_max_offset * body;
    const small = right - left < P.face_max_width * body;
    const narrow = percentile(widths.slice(first, last + 1), 50) < P.head_max_width * body;
    if (high && central && small && narrow) return shoulderRow(widths, rows, top, bottom);
  }
  return null;
}

/**
 * Returns the upper end of the garment: a little above the shoulder, the first row below the face as wide as the body.
 * @param {number[]} widths
 * @param {number[]} faceRows
 * @param {number} top
 * @param {number} bottom
 */
function shoulderRow(widths, faceRows, top, bottom) {
  const height = bottom - top;
  const body = percentile(widths.slice(top + Math.floor(height / P.upper_part), bottom), P.shoulder_percentile);
  const middle = percentile(faceRows, 50);
  let shoulder = Math.trunc(percentile(faceRows, P.chin_percentile));
  for (let row = bottom - 1; row >= top; row--) {
    if (widths[row] > P.shoulder_width * body && row > middle) shoulder = row;
  }
  shoulder = Math.min(shoulder, top + Math.trunc(P.shoulder_max_row * height));
  return Math.trunc(Math.max(percentile(faceRows, P.neck_percentile), shoulder - P.collar_rise * height));
}

/**
 * Removes the smaller of two garments that meet at a waist: the row where the mean colors above and below differ most.
 * @param {RgbaImage["rgba"]} rgba
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {boolean} above Whether another garment may be above.
 * @param {boolean} below Whether another garment may be below.
 */
function cutAtWaist(rgba, mask, width, above, below) {
  const widths = rowWidths(mask, width);
  if (widths.filter((value) => value).length <= P.waist_min_rows) return mask;
  const { top, bottom } = bounds(mask, width);
  const meanColor = colorOfRows(rgba, mask, width, widths);
  const window = Math.max(P.waist_window_min, Math.trunc(P.waist_window * (bottom - top)));
  const half = Math.floor(window / 2);
  let [most, waist] = [P.waist_step, -1];
  for (let row = top + half; row < bottom - half; row++) {
    const share = (row - top) / (bottom - top);
    if (!((below && share > P.waist_rows[1]) || (above && share < P.waist_rows[0]))) continue;
    const upper = meanColor(Math.max(top, row - window), row - 1);
    const lower = meanColor(row + 1, Math.min(bottom, row + window));
    if (!upper || !lower) continue;
    const squares = P.waist_weights.map((weight, c) => ((upper[c] - lower[c]) * weight) ** 2);
    const step = Math.sqrt(squares.reduce((sum, value) => sum + value, 0));
    if (step > most) [most, waist] = [step, row];
  }
  if (waist < 0) return mask;
  const kept = mask.slice();
  const reach = Math.trunc(P.waist_reach * (bottom - top));
  return (waist - top) / (bottom - top) > 0.5
    ? kept.fill(0, (waist - reach) * width)
    : kept.fill(0, 0, (waist + reach) * width);
}

/**
 * Returns a function of two rows: the mean CIELAB color of the mask between them, or null if there are few pixels.
 * @param {RgbaImage["rgba"]} rgba
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {number[]} widths
 */
function colorOfRows(rgba, mask, width, widths) {
  const lab = toLab(rgba);
  const sums = [{ pixels: 0, color: [0, 0, 0] }]; // sums over all rows before each row
  widths.forEach((pixels, row) => {
    const before = sums[row];
    const color = lab.map((plane, c) => {
      let sum = 0;
      for (let i = row * width; i < (row + 1) * width; i++) sum += plane[i] * mask[i];
      return before.color[c] + sum;
    });
    sums.push({ pixels: before.pixels + pixels, color });
  });
  return (/** @type {number} */ begin, /** @type {number} */ end) => {
    const pixels = sums[end].pixels - sums[begin].pixels;
    return pixels < P.waist_min_pixels
      ? null
      : sums[end].color.map((value, c) => (value - sums[begin].color[c]) / pixels);
  };
}
