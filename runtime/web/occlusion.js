// Where the network looked: hide a small square at every place and see how much the answer changes (Zeiler and Fergus
// 2014, arXiv:1311.2901), as fmnist_train/evaluation/occlusion.py.

import { SIZE } from "./pipeline.js";

const PATCH = 6;
const STRIDE = 2;
const BATCH = 13;

/**
 * Returns the evidence of each pixel for the first class against the second, in logits.
 * @returns {Promise<Float32Array>} 28×28; negative where it favors the second.
 */
export async function occlusionMap(classifier, image, first, second) {
  const margin = ({ logits }) => logits[first] - logits[second];
  const whole = margin((await classifier.run(image))[0]);
  const places = [];
  for (let y = 0; y <= SIZE - PATCH; y += STRIDE) for (let x = 0; x <= SIZE - PATCH; x += STRIDE) places.push([y, x]);
  const sum = new Float64Array(image.length),
    cover = new Float64Array(image.length);
  for (let start = 0; start < places.length; start += BATCH) {
    // in parts, so that the page stays awake
    const batch = places.slice(start, start + BATCH);
    const hidden = new Uint8Array(batch.length * image.length);
    batch.forEach((place, i) => {
      const copy = hidden.subarray(i * image.length, (i + 1) * image.length);
      copy.set(image);
      covered(place).forEach((pixel) => (copy[pixel] = 0));
    });
    (await classifier.run(hidden)).forEach((answer, i) =>
      covered(batch[i]).forEach((pixel) => {
        sum[pixel] += whole - margin(answer);
        cover[pixel] += 1;
      }),
    );
    await new Promise((resume) => setTimeout(resume));
  }
  return Float32Array.from(sum, (value, i) => value / cover[i]);
}

function covered([top, left]) {
  return Array.from({ length: PATCH * PATCH }, (_, i) => (top + Math.floor(i / PATCH)) * SIZE + left + (i % PATCH));
}
