// Elements of the page, and the display of answers.

import { SIZE } from "./pipeline.js";

const FOR = [230, 159, 0]; // orange of the Okabe-Ito palette, RGB
const AGAINST = [86, 180, 233]; // its sky blue
const MOST_BARS = 10; // of more classes, so many are shown

const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)}%`;
const milliseconds = (/** @type {number} */ time) => `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;

/**
 * Returns an element of the page.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function find(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no element '${id}': write the page again`);
  return element;
}

export class View {
  #result = find("result", HTMLElement);
  #hint = find("hint", HTMLElement);
  #evidence = find("whyfigure", HTMLElement);
  /** @type {{ row: HTMLElement, bar: HTMLElement, share: HTMLElement }[]} */
  #bars = [];

  constructor() {
    find("loading", HTMLElement).hidden = true; // it stays where scripts cannot run
    this.#hint.hidden = false;
  }

  /**
   * Adds one bar for each class, in the model's order, so that they stay in place while the camera runs. Of more than
   * MOST_BARS classes, an answer leaves the most probable ones, sorted.
   * @param {string[]} labels
   */
  prepareBars(labels) {
    this.#bars = labels.map((label) => {
      const row = document.createElement("li");
      const [name, bar, share] = ["span", "span", "span"].map((tag) => document.createElement(tag));
      name.textContent = label;
      bar.className = "bar";
      row.append(name, bar, share);
      find("bars", HTMLElement).append(row);
      return { row, bar, share };
    });
  }

  /**
   * @param {import("./classifier.js").Answer} answer
   * @param {string[]} labels
   * @param {Uint8Array} input 28×28.
   */
  showAnswer({ order, probabilities, label, rejected }, labels, input) {
    const best = order[0];
    const share = percent(probabilities[best]);
    write("label", label ?? "I don't know");
    if (!rejected) write("sure", `${share} sure`);
    else if (input.some((tone) => tone))
      write("sure", `Unlike the pictures of the model's classes. Perhaps ${labels[best]} (${share}).`);
    else write("sure", "Nothing in this picture stands out from its background.");
    this.#bars.forEach(({ row, bar, share }, i) => {
      row.classList.toggle("best", i === best && !rejected);
      bar.style.setProperty("--share", String(probabilities[i]));
      share.textContent = percent(probabilities[i]);
    });
    if (labels.length > MOST_BARS) {
      find("bars", HTMLElement).replaceChildren(...[...order].slice(0, MOST_BARS).map((i) => this.#bars[i].row));
    }
    paint("seen", (i) => [input[i], input[i], input[i]]);
    this.#result.hidden = false;
    this.#hint.hidden = true;
  }

  /**
   * Shows how long preprocessing and network took, in milliseconds.
   * @param {number} prepared
   * @param {number} classified
   */
  showTime(prepared, classified) {
    write("time", `Prepared in ${milliseconds(prepared)}, classified in ${milliseconds(classified)}, on this device.`);
  }

  hideAnswer() {
    this.#result.hidden = true;
    this.#hint.hidden = false;
    this.hideEvidence();
  }

  /**
   * Paints pixels orange where they favor the answer, blue where they favor the runner-up, stronger for more evidence.
   * @param {Uint8Array} input 28×28.
   * @param {Float32Array} map 28×28, see occlusionMap.
   * @param {string} first
   * @param {string} second
   */
  showEvidence(input, map, first, second) {
    const most = map.reduce((peak, value) => Math.max(peak, Math.abs(value)), 1e-9);
    paint("why", (i) => {
      const strength = map[i] / most;
      const share = 0.75 * Math.abs(strength);
      return (strength > 0 ? FOR : AGAINST).map((color) => 0.8 * input[i] * (1 - share) + color * share);
    });
    this.#evidence.hidden = false;
    write("reading", `Orange: evidence for ${first}. Blue: for ${second}.`);
  }

  hideEvidence() {
    this.#evidence.hidden = true;
    write("reading", "");
  }

  /** @param {string} text */
  showMessage(text) {
    write("message", text);
  }

  /**
   * @param {number} same Images whose logits equal the stored ones to the bit.
   * @param {number} images
   */
  showSelftest(same, images) {
    const result =
      same === images
        ? "this browser computes the exported logits to the bit."
        : `${same} of ${images} images give the exported logits to the bit.`;
    write("selftest", `Self-test: ${result}`);
  }

  /** @param {boolean} on Whether a screen reader announces each answer. */
  announceAnswers(on) {
    find("said", HTMLElement).ariaLive = on ? "polite" : "off";
  }
}

/**
 * @param {string} id
 * @param {string} text
 */
function write(id, text) {
  find(id, HTMLElement).textContent = text;
}

/**
 * Paints a canvas of 28×28 pixels.
 * @param {string} id
 * @param {(pixel: number) => number[]} colorOf Returns red, green and blue, 0 to 255.
 */
function paint(id, colorOf) {
  const image = new ImageData(SIZE, SIZE);
  for (let i = 0; i < SIZE * SIZE; i++) image.data.set([...colorOf(i), 255], 4 * i);
  find(id, HTMLCanvasElement).getContext("2d")?.putImageData(image, 0, 0);
}
