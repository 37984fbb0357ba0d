// The camera, live: a few pictures a second, each classified like a photo.

import { pixelsOf } from "./decode.js";

/** @typedef {import("./array_ops.js").Picture} Picture */

const INTERVAL = 200; // milliseconds between two pictures
const SIDE = 256; // smallest side of a classified picture, in pixels

export class Camera {
  #run = 0; // counts starts and stops
  #video;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
  }

  /**
   * Starts, and passes every picture on until stop(). Throws an Error whose message can be shown.
   * @param {(picture: Picture) => Promise<void>} classify
   */
  async start(classify) {
    this.stop();
    if (!navigator.mediaDevices) throw new Error("The camera needs https or localhost.");
    const mine = this.#run;
    try {
      await this.#watch(classify, () => this.#run === mine);
    } catch (error) {
      if (this.#run === mine) throw error; // after stop() a failure is of no interest
    } finally {
      if (this.#run === mine) this.stop();
    }
  }

  /**
   * @param {(picture: Picture) => Promise<void>} classify
   * @param {() => boolean} wanted
   */
  async #watch(classify, wanted) {
    const stream = await navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "environment" } })
      .catch((error) => {
        throw new Error(
          error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.",
        );
      });
    if (!wanted()) return stream.getTracks().forEach((track) => track.stop()); // stopped during the permission dialog
    this.#video.srcObject = stream;
    await this.#video.play().catch(() => {}); // fails only where the camera was stopped meanwhile
    while (wanted()) {
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
