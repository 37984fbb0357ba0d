// Drawing in light on black, like the network's input, by pointer or keyboard: arrow keys move the pen, space puts it down
// and lifts it.

import { pixelsOf } from "./decode.js";

const SIDE = 280; // of the drawing in pixels, ten times the network's input
const STEP = 10; // pixels that an arrow key moves the pen
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

/** @typedef {{ x: number, y: number }} Point Position on the drawing, in pixels. */

export class Drawing {
  #pen = { x: SIDE / 2, y: SIDE / 2, down: false };
  #canvas;
  #cursor;
  #size;
  #changed;
  #context;
  empty = true;

  /**
   * @param {HTMLCanvasElement} canvas 280×280.
   * @param {HTMLElement} cursor Shows the position of the keyboard's pen.
   * @param {HTMLInputElement} size Width of the pen, in pixels.
   * @param {() => void} changed Called after every change.
   */
  constructor(canvas, cursor, size, changed) {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("This browser cannot draw.");
    this.#canvas = canvas;
    this.#cursor = cursor;
    this.#size = size;
    this.#changed = changed;
    this.#context = Object.assign(context, { lineCap: "round", lineJoin: "round", strokeStyle: "#eee" });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pen = { ...this.#place(event), down: true };
      this.#lineTo(this.#pen);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.#lineTo(this.#place(event));
    });
    canvas.addEventListener("pointerup", () => (this.#pen.down = false));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    this.clear();
  }

  clear() {
    this.#context.fillRect(0, 0, SIDE, SIDE);
    this.empty = true;
  }

  picture() {
    return pixelsOf(this.#canvas, SIDE, SIDE);
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #place({ offsetX, offsetY }) {
    const scale = SIDE / this.#canvas.clientWidth;
    return { x: offsetX * scale, y: offsetY * scale };
  }

  /** @param {Point} point */
  #lineTo({ x, y }) {
    this.#context.lineWidth = Number(this.#size.value);
    this.#context.beginPath();
    this.#context.moveTo(this.#pen.x, this.#pen.y);
    this.#context.lineTo(x, y);
    this.#context.stroke();
    Object.assign(this.#pen, { x, y });
    this.empty = false;
    this.#changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    if (!ARROWS[event.key] && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " ") this.#pen.down = !this.#pen.down;
    const inside = (/** @type {number} */ value) => Math.min(Math.max(value, 0), SIDE);
    const to = { x: inside(this.#pen.x + x), y: inside(this.#pen.y + y) };
    if (this.#pen.down) this.#lineTo(to);
    Object.assign(this.#pen, to);
    const percent = (/** @type {number} */ value) => `${(100 * value) / SIDE}%`;
    Object.assign(this.#cursor.style, { left: percent(to.x), top: percent(to.y) });
    this.#cursor.classList.toggle("down", this.#pen.down);
  }
}
