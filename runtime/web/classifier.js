// One loaded model, as in fmnist_runtime/classifier.py; labels, temperature and threshold come from the model file.

import { Network, readKernels } from "./kernels.js";
import { readModel } from "./model_file.js";
import { SIZE } from "./pipeline.js";

const PIXELS = SIZE * SIZE;

/**
 * @typedef {{ logits: Float32Array, probabilities: Float32Array }} Result
 * @typedef {object} Answer
 * @property {Float32Array} logits
 * @property {Float32Array} probabilities
 * @property {number[]} order Class ids, most probable first.
 * @property {boolean} rejected Whether the image was rejected because it is unlike the training data.
 * @property {string | null} label Null where the image is rejected.
 */

/**
 * Scores of how familiar an image is, as in fmnist_runtime/reject.py.
 * @type {Record<string, (logits: ArrayLike<number>, probabilities: ArrayLike<number>) => number>}
 */
export const SCORES = {
  max_probability: (logits, probabilities) => Math.max(...Array.from(probabilities)),
  energy: (logits) => {
    const peak = Math.max(...Array.from(logits));
    return peak + Math.log(Array.from(logits).reduce((sum, logit) => sum + Math.exp(logit - peak), 0));
  },
  certainty: (logits, probabilities) =>
    1 +
    Array.from(probabilities).reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0) /
      Math.log(Math.max(2, probabilities.length)),
};

export class Classifier {
  #network;

  /**
   * @param {Network} network
   * @param {import("./model_file.js").Metadata} metadata
   */
  constructor(network, metadata) {
    this.#network = network;
    this.metadata = metadata;
    this.labels = metadata.labels;
  }

  /** Fetches and verifies the model, and loads it. Throws an Error whose message can be shown. */
  static async load(url = "model.bin") {
    const [model, wasm] = await Promise.all([fetchBytes(url), readKernels(fetchBytes)]);
    const { metadata, data } = await readModel(model);
    const rule = metadata.reject;
    if (rule && !SCORES[rule.score])
      throw new Error(`the model rejects by '${rule.score}', which this page lacks: write the page again`);
    return new Classifier(await Network.load(wasm, data, metadata.memory, metadata.labels.length), metadata);
  }

  /**
   * Runs the model on one or more 28×28 images.
   * @param {Uint8Array} pixels One image after the other.
   * @returns {Result[]} One for each image.
   */
  run(pixels) {
    return Array.from({ length: pixels.length / PIXELS }, (_, i) => {
      const logits = this.#network.logits(pixels.subarray(i * PIXELS, (i + 1) * PIXELS));
      return { logits, probabilities: softmax(logits, this.metadata.temperature) };
    });
  }

  /**
   * Classifies one 28×28 image.
   * @param {Uint8Array} pixels
   * @returns {Answer}
   */
  classify(pixels) {
    const [{ logits, probabilities }] = this.run(pixels);
    const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const rule = this.metadata.reject;
    const foreground = pixels.some((tone) => tone); // an image without foreground is 0 everywhere
    const rejected = rule !== null && !(foreground && SCORES[rule.score](logits, probabilities) >= rule.threshold);
    return { logits, probabilities, order, rejected, label: rejected ? null : this.labels[order[0]] };
  }

  /** Runs the images in the model file; returns their number, and the number that give the stored logits to the bit. */
  async selftest() {
    const golden = this.metadata.selftest;
    if (!golden) return null;
    const images = await inflate(fromBase64(golden.images));
    const expected = new Float32Array(fromBase64(golden.logits).buffer);
    const results = this.run(images);
    const same = results.filter(({ logits }, i) =>
      logits.every((logit, k) => logit === expected[i * logits.length + k]),
    );
    return { images: results.length, same: same.length };
  }
}

/**
 * Returns the softmax of logits / temperature. The quotient is float32, as in the ONNX graph; the rest is double precision.
 * @param {Float32Array} logits
 * @param {number} temperature
 */
function softmax(logits, temperature) {
  const scaled = logits.map((logit) => logit / Math.fround(temperature));
  const peak = Math.max(...scaled);
  const shares = Array.from(scaled, (logit) => Math.exp(logit - peak));
  const sum = shares.reduce((total, share) => total + share, 0);
  return Float32Array.from(shares, (share) => share / sum);
}

/**
 * @param {string} url
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function fetchBytes(url) {
  const response = await fetch(url).catch(() => {
    throw new Error(`${url} cannot be fetched: check the connection and load the page again`);
  });
  if (!response.ok) throw new Error(`${url} cannot be fetched (${response.status}): write the page again`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {string} text */
const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/**
 * Unpacks data in zlib's format.
 * @param {Uint8Array<ArrayBuffer>} packed
 */
async function inflate(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
