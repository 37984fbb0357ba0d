// From any photo to what the network has learnt: a 28×28 picture, a light garment on black ground. A port of
// fmnist_runtime/preprocess.py; golden vectors hold both to the same bytes.

import { findGarment } from "./garment.js";
import { clamp, percentile, round } from "./numbers.js";
import { bounds, count, luma } from "./pixels.js";
import { isOpaque, resizeFloats, shrink } from "./resample.js";
import { withoutWearer } from "./wearer.js";

export const SIZE = 28;
const WORKING_SIDE = 128;
const SMALLEST = 8;
const GAUSSIAN = [0.45186276187760605, 0.274068619061197]; // of the centre, and of each neighbour
const SHARPNESS = 0.7;
const FLOOR = 48;

/**
 * Turn a picture into the network's input.
 * @param {{rgba: Uint8ClampedArray, width: number, height: number}} picture upright.
 * @returns {Uint8Array} 28×28: 0 is ground, 255 the brightest part of the garment. All 0 where there is none.
 */
export function toNetworkInput(picture) {
  const small = atWorkingSize(picture);
  const { rgba, width, height } = small;
  if (width === SIZE && height === SIZE && isOpaque(rgba) && isGrey(rgba)) return channel(rgba, 0);
  const { mask, negate } = garmentOf(small);
  if (!count(mask)) return new Uint8Array(SIZE * SIZE);
  const { top, bottom, left, right } = bounds(mask, width);
  const [w, h] = [right - left, bottom - top];
  const tones = new Float64Array(w * h), goods = new Uint8Array(w * h);
  for (let i = 0; i < tones.length; i++) {
    const at = (top + Math.floor(i / w)) * width + left + (i % w);
    const tone = luma(rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]) / 1000;
    tones[i] = negate ? 255 - tone : tone;
    goods[i] = mask[at];
  }
  return fit(mapTones(tones, goods), w, h);
}

function atWorkingSize(picture) {
  const { width, height } = picture;
  const scale = WORKING_SIDE / Math.max(width, height);
  if (scale >= 1) return picture;
  return shrink(picture, Math.max(1, round(width * scale)), Math.max(1, round(height * scale)));
}

const channel = (rgba, c) => Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i + c]);

function isGrey(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const [red, green, blue] = [rgba[i], rgba[i + 1], rgba[i + 2]];
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 2) return false;
  }
  return true;
}

/** Which pixels are garment, and whether their tones must be negated. */
function garmentOf(picture) {
  const { rgba, width, height } = picture;
  const solid = channel(rgba, 3).map((alpha) => alpha > 127);
  const share = count(solid) / solid.length;
  if (!isOpaque(rgba) && share > 0.02 && share < 1) return { mask: withoutWearer(picture, solid), negate: true };
  if (Math.min(width, height) < SMALLEST) return { mask: solid.fill(0), negate: true };
  const { mask, plain } = findGarment(picture);
  if (!plain || !count(mask)) return { mask, negate: true };
  const ground = mask.map((value) => 1 - value);
  // Grey on black: already as in the data set, only larger.
  if (isGrey(rgba) && count(ground) && meanOf(rgba, ground) < 12) return { mask, negate: false };
  return { mask: withoutWearer(picture, mask), negate: true };
}

function meanOf(rgba, mask) {
  let sum = 0;
  mask.forEach((value, i) => (sum += value * (rgba[4 * i] + rgba[4 * i + 1] + rgba[4 * i + 2])));
  return sum / (3 * count(mask));
}

/** Bring the garment's tones into the range that the network knows; the ground becomes 0. */
function mapTones(tones, mask) {
  const goods = tones.filter((_, i) => mask[i]);
  const [low, high] = [percentile(goods, 3), percentile(goods, 97)];
  const targetHigh = Math.max(high, 150);
  const targetLow = Math.max(Math.min(low, targetHigh - 60), FLOOR);
  const gain = Math.min((targetHigh - targetLow) / Math.max(high - low, 12), 2.5);
  const map = (tone) => (tone - (low + high) / 2) * gain + (targetLow + targetHigh) / 2;
  return Float32Array.from(tones, (tone, i) => clamp(map(tone), 0.6 * FLOOR, 255) * mask[i]);
}

/** Shrink (or enlarge) the longest side to 28, centre on black, sharpen, stretch the brightest tone to 255. */
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

/** Unsharp mask with a Gaussian of radius and deviation 1; the ground stays black. */
function sharpen(picture) {
  const inside = (i) => clamp(i, 0, SIZE - 1);
  const [middle, side] = GAUSSIAN;
  const blur = (values, at) =>
    values.map((tone, i) => side * (values[at(i, -1)] + values[at(i, 1)]) + middle * tone);
  const across = blur(picture, (i, d) => i - (i % SIZE) + inside((i % SIZE) + d));
  const around = blur(across, (i, d) => SIZE * inside(Math.floor(i / SIZE) + d) + (i % SIZE));
  return picture.map((tone, i) => (tone > 0 ? Math.max(0, tone + SHARPNESS * (tone - around[i])) : 0));
}
