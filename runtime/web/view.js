// Showing an answer.

import { SIZE } from "./pipeline.js";

const FOR = [230, 159, 0],
  AGAINST = [86, 180, 233]; // orange and sky blue of Okabe and Ito

const percent = (share) => `${(100 * share).toFixed(1)}%`;
const milliseconds = (time) => `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;

export class View {
  /** @param {(id: string) => HTMLElement} find */
  constructor(find) {
    this.find = find;
  }

  /** One bar for each class, in the model's order, so that they stay in place while the camera runs. */
  prepareBars(labels) {
    this.bars = labels.map((label) => {
      const row = document.createElement("li");
      const [name, bar, share] = ["span", "span", "span"].map((tag) => document.createElement(tag));
      name.textContent = label;
      bar.className = "bar";
      row.append(name, bar, share);
      this.find("bars").append(row);
      return { row, bar, share };
    });
  }

  answer(answer, labels, seen, prepared, answered) {
    const best = answer.order[0];
    this.find("label").textContent = answer.label ?? "I don't know";
    this.find("sure").textContent = answer.rejected
      ? `Unlike the garments in the training data. Perhaps ${labels[best]} (${percent(answer.probabilities[best])}).`
      : `${percent(answer.probabilities[best])} sure`;
    this.bars.forEach(({ row, bar, share }, i) => {
      row.classList.toggle("best", i === best && !answer.rejected);
      bar.style.setProperty("--share", answer.probabilities[i]);
      share.textContent = percent(answer.probabilities[i]);
    });
    paint(this.find("seen"), (i) => [seen[i], seen[i], seen[i]]);
    this.find("time").textContent =
      `Prepared in ${milliseconds(prepared)}, answered in ${milliseconds(answered)}, on this device.`;
    this.find("result").hidden = false;
    this.find("hint").hidden = true;
  }

  noAnswer() {
    this.find("result").hidden = true;
    this.find("hint").hidden = false;
    this.hideWhy();
  }

  /** Paints pixels orange where they favor the answer, blue where they favor the runner-up, stronger for more evidence. */
  why(seen, map, first, second) {
    const most = map.reduce((peak, value) => Math.max(peak, Math.abs(value)), 1e-9);
    paint(this.find("why"), (i) => {
      const strength = map[i] / most,
        share = 0.75 * Math.abs(strength);
      return (strength > 0 ? FOR : AGAINST).map((color) => 0.8 * seen[i] * (1 - share) + color * share);
    });
    this.find("whyfigure").hidden = false;
    this.find("reading").textContent = `Orange: evidence for ${first}. Blue: for ${second}.`;
  }

  hideWhy() {
    this.find("whyfigure").hidden = true;
    this.find("reading").textContent = "";
  }

  message(text) {
    this.find("message").textContent = text;
  }
}

function paint(canvas, colorOf) {
  const image = new ImageData(SIZE, SIZE);
  for (let i = 0; i < SIZE * SIZE; i++) image.data.set([...colorOf(i), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
