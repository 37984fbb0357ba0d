// The camera, live: a few pictures a second, each as a photo would be.

import { pixelsOf } from "./decode.js";

const INTERVAL = 200; // milliseconds between two pictures
const SIDE = 256; // smallest side of a classified picture, in pixels

export class Camera {
  #run = 0; // counts starts and stops

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
  }

  /** Start, and hand every picture to look(picture) until stop(). Throws an Error whose message can be shown. */
  async start(look) {
    this.stop();
    if (!navigator.mediaDevices) throw new Error("The camera needs a page over https, or from this very machine.");
    const mine = this.#run;
    try {
      await this.#watch(look, () => this.#run === mine);
    } catch (error) {
      if (this.#run === mine) throw error; // after stop() it concerns nobody
    } finally {
      if (this.#run === mine) this.stop();
    }
  }

  async #watch(look, wanted) {
    const stream = await navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "environment" } })
      .catch((error) => {
        throw new Error(
          error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.",
        );
      });
    if (!wanted()) return stream.getTracks().forEach((track) => track.stop()); // stopped while it asked
    this.video.srcObject = stream;
    await this.video.play().catch(() => {}); // refused only where it was stopped meanwhile
    while (wanted()) {
      const { videoWidth: width, videoHeight: height } = this.video;
      const factor = Math.max(1, Math.floor(Math.min(width, height) / SIDE));
      if (width && !document.hidden) await look(pixelsOf(this.video, width, height, factor));
      await new Promise((resume) => setTimeout(resume, INTERVAL));
    }
  }

  stop() {
    this.#run++;
    this.video.srcObject?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
  }
}
