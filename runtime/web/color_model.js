// Color segmentation with two histograms that refine each other, as in fmnist_runtime/preprocessing/color_model.py.

import { binomialSum } from "./array_ops.js";
import { clamp } from "./numeric.js";
import { PARAMETERS } from "./parameters.js";

const P = PARAMETERS.color_model;

/**
 * Computes each pixel's half log-odds of being foreground from color, distance and position.
 * @param {Float32Array[]} lab
 * @param {Float64Array} distance Color difference from the background.
 * @param {number} spread Typical color difference of the background from its model.
 * @param {import("./background.js").Geometry} geometry
 */
export function foregroundLogOdds(lab, distance, spread, { width, height, padded, positionPrior }) {
  const row = width + 2;
  const smooth = (/** @type {Float64Array} */ values) =>
    binomialSum(
      Float64Array.from(padded, (index) => values[index]),
      [row, 1],
    ).map((sum) => sum / 16);
  const inside = (/** @type {Float64Array} */ rows) =>
    Float64Array.from({ length: width * height }, (_, i) => rows[Math.floor(i / width) * row + (i % width)]);
  const evidence = smooth(distanceEvidence(distance, spread));
  const histogram = new ColorHistogram(lab);
  let logOdds = evidence.map(
    (value, i) => P.start_distance_weight * value + P.start_position_weight * positionPrior[i],
  );
  for (let remaining = P.rounds - 1; remaining >= 0; remaining--) {
    const weight = remaining ? P.learning_weight : P.final_weight;
    const ratio = histogram.logRatio(inside(logOdds).map(Math.tanh)).map((value) => value * weight);
    const color = smooth(Float64Array.from(histogram.bins, (bin) => ratio[bin]));
    logOdds = color.map((value, i) => value + (P.distance_weight * evidence[i] + P.position_weight * positionPrior[i]));
  }
  return inside(logOdds);
}

/**
 * Returns the evidence of the color difference from the background: 0 at a threshold that grows with the spread.
 * @param {Float64Array} distance
 * @param {number} spread
 */
function distanceEvidence(distance, spread) {
  const threshold = clamp(P.threshold_spreads * Math.max(P.min_spread, spread), P.threshold_min, P.threshold_max);
  const scale = P.threshold_slope * threshold;
  return distance.map((value) => clamp((value - threshold) / scale, -P.max_evidence, P.max_evidence));
}

/** Histogram of an image's colors, in the smallest box of bins that contains them, with a margin of empty bins. */
class ColorHistogram {
  /** @param {Float32Array[]} lab */
  constructor(lab) {
    /** Bin of each pixel. */
    this.bins = new Int32Array(lab[0].length);
    const lengths = lab.map((plane, c) => {
      const scale = Math.fround(P.bins[c] / P.span[c]);
      const offset = Math.fround((-P.low[c] * P.bins[c]) / P.span[c]);
      const index = Int32Array.from(plane, (value) =>
        clamp(Math.floor(Math.fround(Math.fround(value * scale) + offset)), 0, P.bins[c] - 1),
      );
      const first = index.reduce((a, b) => Math.min(a, b)) - 1;
      const length = index.reduce((a, b) => Math.max(a, b)) + 2 - first;
      index.forEach((value, i) => (this.bins[i] = this.bins[i] * length + (value - first)));
      return length;
    });
    this.strides = [lengths[1] * lengths[2], lengths[2], 1];
    this.size = lengths[0] * lengths[1] * lengths[2];
    this.count = this.smooth(() => 1);
  }

  /**
   * Returns, for each bin, the logarithm of its foreground share divided by its background share.
   * @param {Float64Array} margin P(foreground) - P(background) of each pixel.
   */
  logRatio(margin) {
    const total = margin.length;
    const lead = margin.reduce((sum, value) => sum + value, 0);
    const margins = this.smooth((i) => margin[i]);
    return this.count.map((value, bin) => {
      const foreground = (value + margins[bin]) / (total + lead + P.epsilon) + P.floor;
      const background = (value - margins[bin]) / (total - lead + P.epsilon) + P.floor;
      return clamp(Math.log(foreground / background), -P.max_ratio, P.max_ratio);
    });
  }

  /**
   * Returns the histogram of the pixels' weights, smoothed over 3×3×3 bins.
   * @param {(pixel: number) => number} weight
   */
  smooth(weight) {
    const edge = this.strides[0] + this.strides[1] + 1;
    const histogram = new Float64Array(this.size);
    this.bins.forEach((bin, i) => (histogram[bin] += weight(i)));
    const means = new Float64Array(this.size);
    binomialSum(histogram, this.strides).forEach((sum, i) => (means[i + edge] = sum / 64));
    return means;
  }
}
