// Drawing: light on black, as the network's pictures are. By pointer, or by keyboard: arrows move the pen, space puts it
// down and lifts it.

import { pixelsOf } from "./decode.js";

const SIDE = 280; // of the drawing, ten times the network's picture
const STEP = 10; // of the arrows
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Drawing {
  #pen = { x: SIDE / 2, y: SIDE / 2, down: false };

  /**
   * @param {HTMLCanvasElement} canvas 280×280.
   * @param {HTMLElement} cursor shows where the keyboard's pen is.
   * @param {HTMLInputElement} size of the pen.
   * @param {(picture: object) => void} look called after every change.
   */
  constructor(canvas, cursor, size, look) {
    Object.assign(this, { canvas, cursor, size, look, context: canvas.getContext("2d", { willReadFrequently: true }) });
    Object.assign(this.context, { lineCap: "round", lineJoin: "round", strokeStyle: "#eee" });
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
    this.context.fillRect(0, 0, SIDE, SIDE);
    this.empty = true;
  }

  picture() {
    return pixelsOf(this.canvas, SIDE, SIDE);
  }

  #place({ offsetX, offsetY }) {
    const scale = SIDE / this.canvas.clientWidth;
    return { x: offsetX * scale, y: offsetY * scale };
  }

  #lineTo({ x, y }) {
    this.context.lineWidth = Number(this.size.value);
    this.context.beginPath();
    this.context.moveTo(this.#pen.x, this.#pen.y);
    this.context.lineTo(x, y);
    this.context.stroke();
    Object.assign(this.#pen, { x, y });
    this.empty = false;
    this.look();
  }

  #key(event) {
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    if (!ARROWS[event.key] && event.key !== " ") return;
    event.preventDefault();
    if (event.key === " ") this.#pen.down = !this.#pen.down;
    const inside = (value) => Math.min(Math.max(value, 0), SIDE);
    const to = { x: inside(this.#pen.x + x), y: inside(this.#pen.y + y) };
    if (this.#pen.down) this.#lineTo(to);
    Object.assign(this.#pen, to);
    const percent = (value) => `${(100 * value) / SIDE}%`;
    Object.assign(this.cursor.style, { left: percent(to.x), top: percent(to.y) });
    this.cursor.classList.toggle("down", this.#pen.down);
  }
}
