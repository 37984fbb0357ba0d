// Live camera: a few images a second are classified like photos.

import { pixelsOf } from "./decode.js";

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */

const INTERVAL = 200; // milliseconds between two images
const SIDE = 256; // smallest side of a classified image, in pixels

export class Camera {
  #run = 0; // number of starts and stops so far
  #video;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
  }

  /**
   * Starts the camera, and passes each image to a function until stop(). Throws an Error whose message can be shown.
   * @param {(image: RgbaImage) => Promise<void>} classify
   */
  async start(classify) {
    this.stop();
    if (!navigator.mediaDevices) throw new Error("The camera needs https or localhost.");
    const run = this.#run;
    try {
      await this.#watch(classify, () => this.#run === run);
    } catch (error) {
      if (this.#run === run) throw error; // failures after stop() are ignored
    } finally {
      if (this.#run === run) this.stop();
    }
  }

  /**
   * @param {(image: RgbaImage) => Promise<void>} classify
   * @param {() => boolean} isCurrent
   */
  async #watch(classify, isCurrent) {
    const stream = await navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "environment" } })
      .catch((error) => {
        throw new Error(
          error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.",
        );
      });
    if (!isCurrent()) return stream.getTracks().forEach((track) => track.stop()); // stopped during the permission dialog
    this.#video.srcObject = stream;
    await this.#video.play().catch(() => {}); // fails only where the camera was stopped meanwhile
    while (isCurrent()) {
      const { videoWidth: width, videoHeight: height } = this.#video;
      const factor = Math.max(1, Math.floor(Math.min(width, height) / SIDE));
      if (width && !document.hidden) await classify(pixelsOf(this.#video, width, height, factor));
      await new Promise((resume) => setTimeout(resume, INTERVAL));
    }
  }

  stop() {
    this.#run++;
    const stream = this.#video.srcObject;
    if (stream instanceof MediaStream) stream.getTracks().forEach((track) => track.stop());
    this.#video.srcObject = null;
  }
}
