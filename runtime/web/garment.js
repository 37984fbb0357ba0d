// Find the garment in a photo: which pixels are goods, which are ground. The method, and why, is told in
// fmnist_runtime/garment.py, ground.py and separate.py; this is the same arithmetic, step by step.

import { clamp, minusOneToOne, percentile, solve } from "./numbers.js";
import { boxBlur, components, count, largeParts, tally, toLab } from "./pixels.js";

const PLAIN_SPREAD = 1.5;
const PLAIN_STEP = 4;
const PALE_STEP = 2;
const PALE_GROWTH = 1.15;
const BINS = [16, 24, 24];
const LOW = [0, -60, -60];
const SPAN = [100, 120, 120];
const ROUNDS = 5;
const SAY = 0.9, LAST_SAY = 1.2; // of the colours; four thirds of those in separate.py, which are of half logits
const SAMPLED_FROM = 64;
const CLEAR = 1;
const CONTRAST = 4;
const SMALLEST_SHARE = 0.02;
const PENALTY = [0, 0.02, 0.02, 0.1, 0.1, 0.1];

/** The mask of the goods, all 0 where nothing stands out from the ground; and whether the ground is plain. */
export function findGarment({ rgba, width, height }) {
  const frame = frameOf(width, height);
  const lab = toLab(rgba);
  const { distance, spread } = distanceFromGround(lab, frame);
  const plain = spread < PLAIN_SPREAD;
  const mask = mainParts(plain ? cutOut(distance, spread, frame) : separate(lab, distance, spread, frame), frame);
  return { mask: count(mask) / mask.length >= SMALLEST_SHARE ? mask : mask.fill(0), plain };
}

let lastFrame = { width: 0, height: 0 }; // a camera's pictures all have one size

/** What depends on the size of the picture alone: a frame, and that of the sample from which colours are learnt. */
function frameOf(width, height) {
  if (lastFrame.width === width && lastFrame.height === height) return lastFrame;
  const step = Math.max(width, height) > SAMPLED_FROM ? 2 : 1;
  const [across, down] = [Math.ceil(width / step), Math.ceil(height / step)];
  const index = Int32Array.from(
    { length: across * down }, (_, i) => step * (Math.floor(i / across) * width + (i % across)),
  );
  const pick = (values) => values.constructor.from(index, (i) => values[i]);
  lastFrame = { ...makeFrame(width, height), sample: { ...makeFrame(across, down), pick } };
  return lastFrame;
}

function makeFrame(width, height) {
  const [xs, ys] = [minusOneToOne(width), minusOneToOne(height)];
  const edge = Math.max(2, Math.round(0.04 * Math.max(width, height)));
  const frame = { width, height, ring: [], basis: [], place: [], centrality: [] };
  for (let row = 0, index = 0; row < height; row++) {
    for (let column = 0; column < width; column++, index++) {
      const [x, y] = [xs[column], ys[row]];
      const border = row < edge || row >= height - edge || column < edge || column >= width - edge;
      if (border) frame.ring.push(index);
      frame.basis.push([1, x, y, x * x, y * y, x * y]);
      frame.place.push(1.2 - 2.4 * Math.max(Math.abs(x), Math.abs(y)) ** 2 - 1.5 * border);
      frame.centrality.push(Math.exp(-(x ** 2) - y ** 2));
    }
  }
  return frame;
}

/** How far each pixel is from the colour that the ground would have there; and how far the sample's border itself is. */
function distanceFromGround(lab, { basis, sample }) {
  const { surface, spread } = fitGround(lab.map(sample.pick), sample);
  // A shadow changes lightness more than colour, so lightness counts less.
  const distance = Float64Array.from(basis, (place, index) => Math.sqrt(squares(lab, place, surface, index, 0.6, 1.4)));
  return { distance, spread };
}

function fitGround(lab, { ring, basis }) {
  let weight = ring.map(() => 1);
  let surface, residual;
  for (let round = 0; round < 5; round++) { // iteratively reweighted least squares with Cauchy weights
    surface = fitSurface(lab, ring, basis, weight);
    residual = ring.map((index) => Math.sqrt(squares(lab, basis[index], surface, index, 1, 1)));
    const scale = Math.max(1.5, 1.48 * percentile(residual, 50));
    weight = residual.map((value) => 1 / (1 + (value / (1.5 * scale)) ** 2));
  }
  return { surface, spread: percentile(residual, 60) };
}

/** The squared differences between a pixel and the surface, weighted: lightness, and both colours. */
function squares([L, A, B], place, surface, index, lightness, colour) {
  let l = L[index], a = A[index], b = B[index];
  for (let k = 0; k < 6; k++) {
    l -= place[k] * surface[k][0];
    a -= place[k] * surface[k][1];
    b -= place[k] * surface[k][2];
  }
  return lightness * l * l + colour * a * a + colour * b * b;
}

function fitSurface([L, A, B], ring, basis, weight) {
  const left = PENALTY.map((penalty, i) => PENALTY.map((_, j) => (i === j ? penalty * ring.length : 0)));
  const right = PENALTY.map(() => [0, 0, 0]);
  for (let k = 0; k < ring.length; k++) {
    const index = ring[k];
    const place = basis[index];
    for (let i = 0; i < 6; i++) {
      const weighted = place[i] * weight[k];
      for (let j = 0; j < 6; j++) left[i][j] += weighted * place[j];
      right[i][0] += weighted * L[index];
      right[i][1] += weighted * A[index];
      right[i][2] += weighted * B[index];
    }
  }
  return solve(left, right);
}

/** On a plain ground: everything but what is connected to the border, and holes that show the very ground. */
function cutOut(distance, spread, { width, height }) {
  const under = (limit) => Uint8Array.from(distance, (value) => value < limit);
  const over = (step) => Uint8Array.from(distance, (value) => value > step);
  const [dark, pale] = [over(PLAIN_STEP), over(PALE_STEP)];
  const far = boxBlur(count(pale) > PALE_GROWTH * count(dark) ? pale : dark, width);
  const label = components(Uint8Array.from(far, (value) => value <= 0.34), width);
  const outside = new Set();
  label.forEach((value, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    if (value && (row === 0 || row === height - 1 || column === 0 || column === width - 1)) outside.add(value);
  });
  const mask = Uint8Array.from(label, (value) => !outside.has(value));
  const away = distance.reduce((sum, value, i) => sum + value * mask[i], 0);
  if (!(away > CONTRAST * spread * count(mask))) return mask.fill(0);
  const near = boxBlur(under(1.6), width);
  const hole = components(mask.map((value, i) => value & (near[i] > 0.75)), width);
  const size = tally(hole), same = tally(hole, under(1.1)), total = count(mask);
  const open = (part) => part && size[part] > 0.004 * total && same[part] / size[part] > 0.8;
  return mask.map((value, i) => value & !open(hole[i]));
}

/** On any other ground: histograms of both, sharpened in turn. */
function separate(lab, distance, spread, frame) {
  const threshold = clamp(2.2 * Math.max(1.5, spread), 7, 26);
  const evidence = distance.map((value) => clamp((value - threshold) / (0.35 * threshold), -4, 4));
  const { code, shape } = histogramCodes(lab);
  const ratio = learntRatio(frame.sample.pick(evidence), frame.sample.pick(code), shape, frame.sample);
  const logit = logits(ratio, LAST_SAY, evidence, code, frame);
  const clear = logit.reduce((sum, value) => sum + Math.abs(value), 0) / logit.length >= 2 * CLEAR;
  return Uint8Array.from(logit, (value) => clear && value > 0);
}

/** The logarithm of how much likelier each bin's colour is among the goods, as the sample shows it. */
function learntRatio(evidence, code, shape, frame) {
  const all = new Float64Array(shape[0] * shape[1] * shape[2]);
  for (const bin of code) all[bin]++;
  let logit = boxBlur(evidence.map((value, i) => value + 0.7 * frame.place[i]), frame.width);
  for (let round = 1; ; round++) {
    const goods = logit.map((value) => 1 / (1 + Math.exp(-value)));
    const ratio = logRatio(code, goods, all, shape);
    if (round === ROUNDS) return ratio;
    logit = logits(ratio, SAY, evidence, code, frame);
  }
}

/** Each pixel's logit to be goods. */
function logits(ratio, say, evidence, code, { place, width }) {
  const mixed = evidence.map((value, i) => say * clamp(ratio[code[i]], -4, 4) + 0.5 * value + 0.8 * place[i]);
  return boxBlur(mixed, width).map((value) => 1.5 * value);
}

/** Each pixel's histogram bin, in the smallest box that holds all bins in use and their neighbours. */
function histogramCodes(lab) {
  const code = new Int32Array(lab[0].length);
  const shape = lab.map((plane, c) => {
    const index = Int32Array.from(plane, (v) => clamp(Math.trunc(((v - LOW[c]) / SPAN[c]) * BINS[c]), 0, BINS[c] - 1));
    const first = Math.max(index.reduce((a, b) => Math.min(a, b)) - 1, 0);
    const length = Math.min(index.reduce((a, b) => Math.max(a, b)) + 2, BINS[c]) - first;
    index.forEach((value, i) => (code[i] = code[i] * length + (value - first)));
    return length;
  });
  return { code, shape };
}

/** Logarithm of how much likelier each bin's colour is among the goods than in the ground. */
function logRatio(code, goods, all, shape) {
  const weight = new Float64Array(all.length);
  code.forEach((bin, i) => (weight[bin] += goods[i]));
  const [front, back] = [weight, all.map((value, bin) => value - weight[bin])].map((histogram) => {
    const smooth = smoothed(histogram, shape);
    const total = smooth.reduce((sum, value) => sum + value, 0) + 1e-9;
    return smooth.map((value) => value / total + 2e-5);
  });
  return front.map((value, bin) => Math.log(value / back[bin]));
}

/** Spread each bin over its neighbours, with weights 1, 2, 1 along each axis. */
function smoothed(histogram, shape) {
  let stride = histogram.length;
  for (const length of shape) {
    stride /= length;
    histogram = histogram.map((value, bin) => {
      const place = Math.floor(bin / stride) % length;
      let sum = 0.5 * value;
      if (place > 0) sum += 0.25 * histogram[bin - stride];
      if (place < length - 1) sum += 0.25 * histogram[bin + stride];
      return sum;
    });
  }
  return histogram;
}

/** The largest part, and others at least a quarter of it (the second shoe); parts near the centre count more. */
function mainParts(mask, { width, centrality }) {
  const label = components(mask, width);
  return largeParts(label, tally(label, centrality.map((value, i) => value * mask[i])), 0.25);
}
