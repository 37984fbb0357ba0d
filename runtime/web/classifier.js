// One loaded model, as fmnist_runtime/classifier.py: labels, temperature and threshold are the model file's own.

import * as ort from "./vendor/ort.wasm.min.mjs";
import { readMetadata, verifyChecksum } from "./metadata.js";
import { SIZE } from "./pipeline.js";

const RUNTIME = "vendor/ort-wasm-simd-threaded.wasm.gz";
const PIXELS = SIZE * SIZE;

/** How familiar a picture looks, as in fmnist_runtime/reject.py. */
export const SCORES = {
  max_probability: (logits, probabilities) => Math.max(...probabilities),
  energy: (logits) => {
    const peak = Math.max(...logits);
    return peak + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0));
  },
  certainty: (logits, probabilities) =>
    1 +
    probabilities.reduce((sum, share) => sum + (share > 0 ? share * Math.log(share) : 0), 0) /
      Math.log(probabilities.length),
};

export class Classifier {
  constructor(session, metadata) {
    this.session = session;
    this.metadata = metadata;
    this.labels = metadata.labels;
  }

  /** Fetch the model and the runtime, verify, load. Throws an Error whose message can be shown. */
  static async load(url = "model.onnx") {
    const [model, wasm] = await Promise.all([fetchBytes(url), fetchBytes(RUNTIME)]);
    const metadata = readMetadata(model);
    await verifyChecksum(model, metadata.sha256);
    const rule = metadata.reject;
    if (rule && !SCORES[rule.score])
      throw new Error(`the model rejects by '${rule.score}', which this page lacks: write the page again`);
    // One thread: a picture takes milliseconds, and more would need headers that not every server sends.
    Object.assign(ort.env.wasm, {
      numThreads: 1,
      wasmBinary: wasm.buffer,
      wasmPaths: new URL("vendor/", document.baseURI).href,
    });
    return new Classifier(await ort.InferenceSession.create(model), metadata);
  }

  /**
   * Run the model.
   * @param {Uint8Array} pixels of one or more 28×28 pictures.
   * @returns {Promise<{logits: Float32Array, probabilities: Float32Array}[]>} one for each.
   */
  async run(pixels) {
    const count = pixels.length / PIXELS;
    const image = new ort.Tensor("uint8", pixels, [count, 1, SIZE, SIZE]);
    const { logits, probabilities } = await this.session.run({ image });
    const row = (tensor, i) => tensor.data.slice(i * this.labels.length, (i + 1) * this.labels.length);
    return Array.from({ length: count }, (_, i) => ({ logits: row(logits, i), probabilities: row(probabilities, i) }));
  }

  /** Classifies one 28×28 picture; rejected is true where it is unlike the training data. */
  async classify(pixels) {
    const [{ logits, probabilities }] = await this.run(pixels);
    const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const rule = this.metadata.reject;
    const seen = pixels.some((tone) => tone); // all 0: no foreground was found
    const rejected = Boolean(rule) && !(seen && SCORES[rule.score](logits, probabilities) >= rule.threshold);
    return { logits, probabilities, order, rejected, label: rejected ? null : this.labels[order[0]] };
  }

  /** Replay the real images that the model carries: how many, and how many gave the very logits that its author got. */
  async selftest() {
    const golden = this.metadata.selftest;
    if (!golden) return null;
    const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const images = await decompress(bytes(golden.images), "deflate");
    const expected = new Float32Array(bytes(golden.logits).buffer);
    let same = 0;
    const count = images.length / PIXELS;
    for (let i = 0; i < count; i++) {
      const [{ logits }] = await this.run(images.slice(i * PIXELS, (i + 1) * PIXELS));
      same += logits.every((logit, k) => logit === expected[i * logits.length + k]);
    }
    return { images: count, same };
  }
}

async function fetchBytes(url) {
  const response = await fetch(url).catch(() => {
    throw new Error(`${url} cannot be fetched: check the connection and load the page again`);
  });
  if (!response.ok) throw new Error(`${url} cannot be fetched (${response.status}): write the page again`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  // Some servers announce a .gz file as Content-Encoding: gzip, and the browser has unpacked it already.
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return packed ? decompress(bytes, "gzip") : bytes;
}

async function decompress(packed, format) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
