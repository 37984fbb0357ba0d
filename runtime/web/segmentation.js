// Garment segmentation: which pixels of a photo are foreground, as in fmnist_runtime/preprocessing/segmentation.py.

import { Components, count, neighborCount, positiveAtDouble, toLab } from "./array_ops.js";
import { backgroundDistance, fitBackground, geometryOf, sampleStep } from "./background.js";
import { foregroundLogOdds } from "./color_model.js";
import { PARAMETERS } from "./parameters.js";

const P = PARAMETERS.plain;

/**
 * Separates the foreground from the background.
 * @param {import("./array_ops.js").RgbaImage} image
 * @returns {{mask: Uint8Array, plain: boolean}} The foreground, and whether the background is plain.
 */
export function segment(image) {
  const { rgba, width, height } = image;
  const step = sampleStep(width, height);
  const sampled = step === 1 ? image : sampleEverySecond(image);
  const lab = toLab(sampled.rgba);
  const geometry = geometryOf(sampled.width, sampled.height);
  const background = fitBackground(lab, geometry);
  const plain = background.spread < P.max_spread;
  let mask;
  if (plain) {
    const whole = geometryOf(width, height);
    const distance = backgroundDistance(toLab(rgba), background, whole);
    mask = mainComponents(threshold(distance, background.spread, whole), whole);
  } else {
    const distance = backgroundDistance(lab, background, geometry);
    const logOdds = foregroundLogOdds(lab, distance, background.spread, geometry);
    mask = classify(logOdds, geometry);
    if (step === 2) {
      const kept = mask;
      mask = positiveAtDouble(
        logOdds.map((value, i) => (value > 0 && !kept[i] ? 0 : value)),
        width,
        height,
      );
    }
  }
  return { mask: count(mask) < P.min_share * mask.length ? mask.fill(0) : mask, plain };
}

/**
 * Returns every second pixel of every second row.
 * @param {import("./array_ops.js").RgbaImage} image
 */
function sampleEverySecond({ rgba, width, height }) {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const sampled = new Uint8ClampedArray(4 * columns * rows);
  for (let i = 0; i < columns * rows; i++) {
    const at = 4 * (2 * Math.floor(i / columns) * width + 2 * (i % columns));
    for (let c = 0; c < 4; c++) sampled[4 * i + c] = rgba[at + c];
  }
  return { rgba: sampled, width: columns, height: rows };
}

/**
 * Returns the main components of the pixels with positive log-odds; none if the evidence is weak.
 * @param {Float64Array} logOdds Set to 0 if the evidence is weak.
 * @param {import("./background.js").Geometry} geometry
 */
function classify(logOdds, geometry) {
  const clarity = logOdds.reduce((sum, value) => sum + Math.abs(value), 0) / logOdds.length;
  if (clarity < PARAMETERS.color_model.min_clarity) logOdds.fill(0);
  return mainComponents(
    Uint8Array.from(logOdds, (value) => Number(value > 0)),
    geometry,
  );
}

/**
 * Returns the foreground on a plain background: all pixels except holes and what is connected to the border.
 * @param {Float64Array} distance Color difference from the background.
 * @param {number} spread
 * @param {import("./background.js").Geometry} geometry
 */
function threshold(distance, spread, { width, height }) {
  const over = (/** @type {number} */ step) => Uint8Array.from(distance, (value) => Number(value > step));
  const under = (/** @type {number} */ limit) => Uint8Array.from(distance, (value) => Number(value < limit));
  const [dark, pale] = [over(P.step), over(P.pale_step)];
  const far = neighborCount(count(pale) > P.pale_growth * count(dark) ? pale : dark, width);
  const free = new Components(
    Uint8Array.from(far, (value) => Number(value <= P.max_foreground_neighbors)),
    width,
  );
  const outside = new Set();
  free.label.forEach((component, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    if (row === 0 || row === height - 1 || column === 0 || column === width - 1) outside.add(component);
  });
  const background = free.mask((component) => outside.has(component));
  const mask = background.map((value) => 1 - value);
  const away = distance.reduce((sum, value, i) => sum + value * mask[i], 0);
  if (!(away > P.contrast * spread * count(mask))) return mask.fill(0);
  const near = neighborCount(under(P.hole_distance), width);
  const holes = new Components(
    mask.map((value, i) => value & Number(near[i] >= P.hole_neighbors)),
    width,
  );
  const [size, core, total] = [holes.sizes(), holes.sizes(under(P.hole_core_distance)), count(mask)];
  const open = holes.mask(
    (hole) => size[hole] > P.hole_min_share * total && core[hole] / size[hole] > P.hole_core_share,
  );
  return mask.map((value, i) => value & (1 - open[i]));
}

/**
 * Returns the largest component and others of similar size; pixels near the center count more.
 * @param {Uint8Array} mask
 * @param {import("./background.js").Geometry} geometry
 */
function mainComponents(mask, { width, centrality }) {
  const components = new Components(mask, width);
  return components.large(components.sizes(centrality), P.part_share);
}
