// Background model: a smooth color surface fitted to the border, as in fmnist_runtime/preprocessing/background.py.

import { binomialSum, percentile } from "./array_ops.js";
import { minusOneToOne, solve } from "./numeric.js";
import { PARAMETERS } from "./parameters.js";

const P = PARAMETERS.background;

/**
 * @typedef {object} Geometry Arrays that depend on the size of an image alone.
 * @property {number} width In pixels.
 * @property {number} height In pixels.
 * @property {number[]} ring Indices of the border pixels.
 * @property {number[][]} basis The polynomials 1, x, y, x², y², xy of each pixel; x and y run from -1 to 1.
 * @property {Int32Array} padded Indices of the image with its border repeated once on each side, and two more.
 * @property {Float64Array} positionPrior Preference for the center over the border, smoothed, rows of width + 2.
 * @property {number[]} centrality Weight of each pixel, 1 at the center.
 */

/**
 * @typedef {object} Background The fitted background of one image.
 * @property {number[][]} surface Coefficients of 1, x, y, x², y², xy: six rows of L, a, b.
 * @property {number} spread Typical color difference of the border from the surface.
 */

/** @type {Map<string, Geometry>} */
const geometries = new Map(); // few entries: all images of a camera have the same size

/**
 * Returns the geometry of images of one size, cached.
 * @param {number} width
 * @param {number} height
 */
export function geometryOf(width, height) {
  const key = `${width}×${height}`;
  const geometry = geometries.get(key) ?? makeGeometry(width, height);
  if (geometries.size >= 4) geometries.clear();
  geometries.set(key, geometry);
  return geometry;
}

/**
 * @param {number} width
 * @param {number} height
 * @returns {Geometry}
 */
function makeGeometry(width, height) {
  const p = PARAMETERS.color_model;
  const [xs, ys] = [minusOneToOne(width), minusOneToOne(height)];
  const edge = Math.max(P.ring_min, Math.round(P.ring_share * Math.max(width, height)));
  const [ring, basis, prior, centrality] = [[], [], [], []].map((list) => /** @type {any[]} */ (list));
  for (let row = 0, index = 0; row < height; row++) {
    for (let column = 0; column < width; column++, index++) {
      const [x, y] = [xs[column], ys[row]];
      const border = row < edge || row >= height - edge || column < edge || column >= width - edge;
      if (border) ring.push(index);
      basis.push([1, x, y, x * x, y * y, x * y]);
      const distance = Math.max(Math.abs(x), Math.abs(y));
      prior.push(p.position_center - p.position_falloff * (distance * distance) - p.position_ring * Number(border));
      centrality.push(Math.exp(-y * y) * Math.exp(-x * x));
    }
  }
  const padded = paddedIndices(width, height);
  const positionPrior = binomialSum(
    Float64Array.from(padded, (index) => prior[index]),
    [width + 2, 1],
  ).map((v) => v / 16);
  return { width, height, ring, basis, padded, positionPrior, centrality };
}

/**
 * @param {number} width
 * @param {number} height
 */
function paddedIndices(width, height) {
  const indices = new Int32Array((width + 2) * (height + 2) + 2); // smoothing the last row reads two more
  const inside = (/** @type {number} */ position, /** @type {number} */ side) =>
    Math.min(Math.max(position - 1, 0), side - 1);
  for (let row = 0, to = 0; row < height + 2; row++) {
    for (let column = 0; column < width + 2; column++, to++)
      indices[to] = inside(row, height) * width + inside(column, width);
  }
  return indices;
}

/**
 * Returns the step in pixels between the rows and columns that are used to fit background and color histograms.
 * @param {number} width
 * @param {number} height
 */
export const sampleStep = (width, height) => (Math.max(width, height) > P.sampled_from ? 2 : 1);

/**
 * Fits the color surface to the border: iteratively reweighted least squares with Cauchy weights.
 * @param {Float32Array[]} lab
 * @param {Geometry} geometry
 * @returns {Background}
 */
export function fitBackground(lab, { ring, basis }) {
  let weight = ring.map(() => 1);
  for (let remaining = P.rounds - 1; ; remaining--) {
    const surface = fitSurface(lab, ring, basis, weight);
    const squares = ring.map((index) => squaredDifference(lab, basis[index], surface, index, [1, 1, 1]));
    const distance = squares.map(Math.sqrt);
    if (!remaining) return { surface, spread: percentile(distance, P.spread_percentile) };
    const scale = P.cauchy_scales * Math.max(P.min_scale, P.median_to_deviation * percentile(distance, 50));
    weight = squares.map((value) => 1 / (1 + value / (scale * scale)));
  }
}

/**
 * @param {Float32Array[]} lab
 * @param {number[]} ring
 * @param {number[][]} basis
 * @param {number[]} weight
 */
function fitSurface(lab, ring, basis, weight) {
  const left = P.penalty.map((penalty, i) => P.penalty.map((_, j) => (i === j ? penalty * ring.length : 0)));
  const right = P.penalty.map(() => [0, 0, 0]);
  ring.forEach((index, k) => {
    const powers = basis[index];
    for (let i = 0; i < 6; i++) {
      const weighted = powers[i] * weight[k];
      for (let j = 0; j < 6; j++) left[i][j] += weighted * powers[j];
      for (let c = 0; c < 3; c++) right[i][c] += weighted * lab[c][index];
    }
  });
  return solve(left, right);
}

/**
 * Returns the color difference of each pixel from the background at its position.
 * @param {Float32Array[]} lab
 * @param {Background} background
 * @param {Geometry} geometry
 */
export function backgroundDistance(lab, { surface }, { basis }) {
  return Float64Array.from(basis, (powers, index) =>
    Math.sqrt(squaredDifference(lab, powers, surface, index, P.channel_weights)),
  );
}

/**
 * Returns the weighted sum of the squared differences of L, a, b between one pixel and the surface.
 * @param {Float32Array[]} lab
 * @param {number[]} powers
 * @param {number[][]} surface
 * @param {number} index
 * @param {number[]} weights
 */
function squaredDifference(lab, powers, surface, index, weights) {
  let sum = 0;
  for (let c = 0; c < 3; c++) {
    let difference = lab[c][index];
    for (let k = 0; k < 6; k++) difference -= powers[k] * surface[k][c];
    sum += weights[c] * difference * difference;
  }
  return sum;
}
