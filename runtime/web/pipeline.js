// From any photo to the network's input, as in fmnist_runtime/preprocessing/pipeline.py: a 28×28 image of a light garment on
// a black background. Golden vectors check that both give the same bytes.

import { bounds, count, luma, percentile } from "./array_ops.js";
import { clamp, round } from "./numeric.js";
import { PARAMETERS } from "./parameters.js";
import { removePerson } from "./person.js";
import { isOpaque, resizeFloats, shrink } from "./resample.js";
import { segment } from "./segmentation.js";

/** Side of the network's input, in pixels. */
export const SIZE = 28;
const P = PARAMETERS.tone;

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */

/**
 * Converts an image to the network's input.
 * @param {RgbaImage} image
 * @returns {Uint8Array} 28×28: 0 is background, 255 the brightest part of the garment. All 0 if there is none.
 */
export function toNetworkInput(image) {
  const working = workingImage(image);
  const { rgba, width, height } = working;
  if (width === SIZE && height === SIZE && isOpaque(rgba) && isGray(rgba)) return channel(rgba, 0);
  const { mask, negate } = garmentMask(working);
  if (!count(mask)) return new Uint8Array(SIZE * SIZE);
  const { top, bottom, left, right } = bounds(mask, width);
  const [w, h] = [right - left, bottom - top];
  const tones = new Float64Array(w * h);
  const garment = new Uint8Array(w * h);
  for (let i = 0; i < tones.length; i++) {
    const at = (top + Math.floor(i / w)) * width + left + (i % w);
    const tone = luma(rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]) / 1000;
    tones[i] = negate ? 255 - tone : tone;
    garment[i] = mask[at];
  }
  return fit(mapTones(tones, garment), w, h);
}

/**
 * Shrinks an image to the working size.
 * @param {RgbaImage} image
 */
function workingImage(image) {
  const { width, height } = image;
  const scale = P.working_side / Math.max(width, height);
  if (scale >= 1) return image;
  return shrink(image, Math.max(1, round(width * scale)), Math.max(1, round(height * scale)));
}

/**
 * Returns one channel.
 * @param {RgbaImage["rgba"]} rgba
 * @param {number} c
 */
const channel = (rgba, c) => Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i + c]);

/** @param {RgbaImage["rgba"]} rgba */
function isGray(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const [red, green, blue] = [rgba[i], rgba[i + 1], rgba[i + 2]];
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > P.gray_tolerance) return false;
  }
  return true;
}

/**
 * Returns the garment's pixels, and whether their tones must be negated.
 * @param {RgbaImage} image
 */
function garmentMask(image) {
  const { rgba, width, height } = image;
  const opaque = channel(rgba, 3).map((alpha) => Number(alpha > P.opaque));
  const share = count(opaque) / opaque.length;
  if (!isOpaque(rgba) && share > P.opaque_share && share < 1)
    return { mask: removePerson(image, opaque), negate: true };
  if (Math.min(width, height) < P.min_side) return { mask: opaque.fill(0), negate: true };
  const { mask, plain } = segment(image);
  if (!plain || !count(mask)) return { mask, negate: true };
  const background = mask.map((value) => 1 - value);
  // Gray on black has the tones of the data set already.
  if (isGray(rgba) && count(background) && meanTone(rgba, background) < P.black) return { mask, negate: false };
  return { mask: removePerson(image, mask), negate: true };
}

/**
 * Returns the mean of the channels of a mask's pixels.
 * @param {RgbaImage["rgba"]} rgba
 * @param {Uint8Array} mask
 */
function meanTone(rgba, mask) {
  let sum = 0;
  mask.forEach((value, i) => (sum += value * (rgba[4 * i] + rgba[4 * i + 1] + rgba[4 * i + 2])));
  return sum / (3 * count(mask));
}

/**
 * Maps the garment's tones to the range of the data set; the background becomes 0.
 * @param {Float64Array} tones
 * @param {Uint8Array} mask
 */
function mapTones(tones, mask) {
  const garment = tones.filter((_, i) => mask[i]);
  const [low, high] = P.percentiles.map((share) => percentile(garment, share));
  const targetHigh = Math.max(high, P.high_min);
  const targetLow = Math.max(Math.min(low, targetHigh - P.range_min), P.floor);
  const gain = Math.min((targetHigh - targetLow) / Math.max(high - low, P.flat), P.gain_max);
  const map = (/** @type {number} */ tone) => (tone - (low + high) / 2) * gain + (targetLow + targetHigh) / 2;
  return Float32Array.from(tones, (tone, i) => clamp(map(tone), P.floor_share * P.floor, 255) * mask[i]);
}

/**
 * Resizes the longest side to 28, centers on black, sharpens, stretches the brightest tone to 255.
 * @param {Float32Array} tones
 * @param {number} width
 * @param {number} height
 */
function fit(tones, width, height) {
  const scale = SIZE / Math.max(width, height);
  const [w, h] = [Math.max(1, round(width * scale)), Math.max(1, round(height * scale))];
  const small = resizeFloats(tones, width, height, w, h, "bicubic");
  const fitted = new Float64Array(SIZE * SIZE);
  const [top, left] = [Math.floor((SIZE - h) / 2), Math.floor((SIZE - w) / 2)];
  small.forEach((tone, i) => (fitted[(top + Math.floor(i / w)) * SIZE + left + (i % w)] = Math.max(0, tone)));
  const sharp = sharpen(fitted);
  const brightest = sharp.reduce((most, tone) => Math.max(most, tone), 0);
  return Uint8Array.from(sharp, (tone) => (brightest > 0 ? round(tone * (255 / brightest)) : 0));
}

/**
 * Applies an unsharp mask; the background stays black.
 * @param {Float64Array} image 28×28.
 */
function sharpen(image) {
  const inside = (/** @type {number} */ i) => clamp(i, 0, SIZE - 1);
  const [center, side] = P.gaussian;
  const blur = (/** @type {Float64Array} */ values, /** @type {(i: number, d: number) => number} */ at) =>
    values.map((tone, i) => side * (values[at(i, -1)] + values[at(i, 1)]) + center * tone);
  const across = blur(image, (i, d) => i - (i % SIZE) + inside((i % SIZE) + d));
  const around = blur(across, (i, d) => SIZE * inside(Math.floor(i / SIZE) + d) + (i % SIZE));
  return image.map((tone, i) => (tone > 0 ? Math.max(0, tone + P.sharpness * (tone - around[i])) : 0));
}
