// Contribution of each pixel: a small square is hidden at many positions, and the change of the logits is measured (Zeiler and
// Fergus 2014, arXiv:1311.2901), as in fmnist_train/evaluation/occlusion.py.

import { SIZE } from "./pipeline.js";

const PATCH = 6; // side of the hidden square, in pixels
const STRIDE = 2; // distance between two squares, in pixels
const BATCH = 13; // squares between two pauses, so that the page stays responsive

/**
 * Returns the evidence of each pixel for the first class against the second, in logits.
 * @param {import("./classifier.js").Classifier} classifier
 * @param {Uint8Array} image
 * @param {number} first
 * @param {number} second
 * @returns {Promise<Float32Array>} 28×28; negative where the pixel favors the second.
 */
export async function occlusionMap(classifier, image, first, second) {
  const margin = (/** @type {Uint8Array} */ pixels) => {
    const [{ logits }] = classifier.run(pixels);
    return logits[first] - logits[second];
  };
  const whole = margin(image);
  const corners = [];
  for (let y = 0; y <= SIZE - PATCH; y += STRIDE) for (let x = 0; x <= SIZE - PATCH; x += STRIDE) corners.push([y, x]);
  const sum = new Float64Array(image.length);
  const cover = new Float64Array(image.length);
  for (const [i, [top, left]] of corners.entries()) {
    const pixels = hiddenPixels(top, left);
    const hidden = image.slice();
    for (const pixel of pixels) hidden[pixel] = 0;
    const change = whole - margin(hidden);
    for (const pixel of pixels) {
      sum[pixel] += change;
      cover[pixel] += 1;
    }
    if (i % BATCH === BATCH - 1) await new Promise((resume) => setTimeout(resume));
  }
  return Float32Array.from(sum, (value, i) => value / cover[i]);
}

/**
 * Returns the pixels of the square with this upper left corner.
 * @param {number} top
 * @param {number} left
 */
function hiddenPixels(top, left) {
  return Array.from({ length: PATCH * PATCH }, (_, i) => (top + Math.floor(i / PATCH)) * SIZE + left + (i % PATCH));
}
