// Int8 network in WebAssembly: the kernels of runtime/kernels/kernels.c run the layers from fmnist_runtime/network/program.py.

import { SIZE } from "./pipeline.js";

const PAGE = 65536; // bytes of a WebAssembly memory page
const ALIGNMENT = 16; // bytes

/**
 * Offsets and sizes in bytes, as fmnist_runtime/network/program.py defines them.
 * @typedef {{ activations: number, image: number, logits: number, layers: number }} MemoryLayout
 */

/**
 * Chooses the kernels that this browser runs: with SIMD, or without.
 * @param {(name: string) => Promise<Uint8Array<ArrayBuffer>>} read Returns a file of the page.
 */
export async function readKernels(read) {
  const fast = await read("kernels.simd.wasm");
  return WebAssembly.validate(fast) ? fast : read("kernels.wasm");
}

export class Network {
  /** @type {() => number} */
  #run;
  /** @type {Uint8Array} */
  #image;
  /** @type {Float32Array} */
  #logits;

  /**
   * @param {WebAssembly.Exports} kernels
   * @param {Uint8Array} data Constants and layers.
   * @param {MemoryLayout} layout
   * @param {number} classes
   */
  constructor(kernels, data, layout, classes) {
    const memory = /** @type {WebAssembly.Memory} */ (kernels.memory);
    const heap = /** @type {WebAssembly.Global} */ (kernels.__heap_base).value;
    const start = Math.ceil(heap / ALIGNMENT) * ALIGNMENT;
    const end = start + layout.activations + data.length;
    memory.grow(Math.max(0, Math.ceil((end - memory.buffer.byteLength) / PAGE)));
    new Uint8Array(memory.buffer).set(data, start + layout.activations);
    const run = /** @type {(memory: number, layers: number) => number} */ (kernels.run);
    this.#run = () => run(start, start + layout.layers);
    this.#image = new Uint8Array(memory.buffer, start + layout.image, SIZE * SIZE);
    this.#logits = new Float32Array(memory.buffer, start + layout.logits, classes);
  }

  /**
   * Compiles the kernels and loads a network.
   * @param {BufferSource} wasm
   * @param {Uint8Array} data Constants and layers.
   * @param {MemoryLayout} layout
   * @param {number} classes
   */
  static async load(wasm, data, layout, classes) {
    const { instance } = await WebAssembly.instantiate(wasm);
    return new Network(instance.exports, data, layout, classes);
  }

  /**
   * Returns the logits of one 28×28 image.
   * @param {Uint8Array} image
   */
  logits(image) {
    this.#image.set(image);
    if (this.#run()) throw new Error("the model is newer than this page: write the page again");
    return this.#logits.slice();
  }
}
