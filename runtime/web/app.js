// The page: a photo, the camera or a drawing is classified on this device.

import { Camera } from "./camera.js";
import { Classifier } from "./classifier.js";
import { decode } from "./decode.js";
import { Drawing } from "./draw.js";
import { occlusionMap } from "./occlusion.js";
import { toNetworkInput } from "./pipeline.js";
import { View } from "./view.js";

const find = (id) => document.getElementById(id);
const view = new View(find);
const loading = start();
const camera = new Camera(find("video"));
const drawing = new Drawing(find("canvas"), find("cursor"), find("pen"), () => newest(drawing.picture()));
let turn = 0; // counts the pictures: an older one's answer is dropped
let waiting = null; // the newest drawing, not yet classified
let photo = null; // the file that the preview shows

async function start() {
  const classifier = await Classifier.load();
  view.prepareBars(classifier.labels);
  const test = await classifier.selftest();
  if (test) {
    find("selftest").textContent =
      test.same === test.images
        ? "Self-test: this browser computes the author's numbers to the bit."
        : `Self-test: ${test.same} of ${test.images} images give the author's numbers to the bit.`;
  }
  document.documentElement.dataset.ready = "true";
  return classifier;
}

/**
 * Classify a picture, or one that is still being decoded, and show the answer; explain it too unless the next picture is
 * already on its way. Once another picture or way is chosen, neither the answer nor a failure is of interest.
 */
async function look(picture, explain = true) {
  const mine = ++turn;
  try {
    const [classifier, pixels] = await Promise.all([loading, picture]);
    if (mine !== turn) return;
    const begin = performance.now();
    const seen = toNetworkInput(pixels);
    const middle = performance.now();
    const answer = await classifier.classify(seen);
    const end = performance.now();
    if (mine !== turn) return;
    view.message("");
    view.answer(answer, classifier.labels, seen, middle - begin, end - middle);
    if (!explain) return view.hideWhy();
    const [first, second] = answer.order;
    const map = await occlusionMap(classifier, seen, first, second);
    if (mine === turn) view.why(seen, map, classifier.labels[first], classifier.labels[second]);
  } catch (error) {
    if (mine === turn) throw error;
  }
}

/** Drop the answer, and those that are still on their way. */
function forget() {
  turn++;
  waiting = null;
  view.message("");
  view.noAnswer();
}

function failed(error) {
  view.noAnswer();
  view.message(error.message);
}

/** Look at the newest drawing once the browser has a moment; those before it need no answer. */
function newest(picture) {
  if (!waiting) setTimeout(() => lookAtNewest().catch(failed));
  waiting = picture;
}

async function lookAtNewest() {
  const picture = waiting;
  waiting = null;
  if (picture) await look(picture);
}

async function lookAtPhoto() {
  if (!photo) return;
  try {
    await look(decode(photo));
  } catch (error) {
    photo = null;
    find("preview").hidden = true;
    throw error;
  }
}

function open(file) {
  if (!file) return view.message("There is no picture in this.");
  photo = file;
  find("preview").src = URL.createObjectURL(file);
  find("preview").hidden = false;
  choose("photo");
}

/** Opens one of the page's own photos. */
async function openSample(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error("This example cannot be fetched: load the page again.");
  open(await response.blob());
}

const WAYS = {
  photo: lookAtPhoto,
  camera: () => camera.start((picture) => look(picture, false)),
  draw: async () => drawing.empty || look(drawing.picture()),
};

/** Show one of the three ways, and the answer to what it shows. */
function choose(way) {
  forget();
  camera.stop();
  for (const name of Object.keys(WAYS)) {
    find(name).hidden = name !== way;
    find(`${name}-tab`).setAttribute("aria-selected", name === way);
    find(`${name}-tab`).tabIndex = name === way ? 0 : -1;
  }
  find("said").ariaLive = way === "camera" ? "off" : "polite"; // five answers a second are not to be read out
  WAYS[way]().catch(failed);
}

const pictureIn = (items) =>
  [...(items?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? items?.files[0];

const tabs = [...document.querySelectorAll("[role=tab]")];
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => choose(tab.id.replace("-tab", "")));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: tabs.length - 1 }[key];
    if (step) tabs[(i + step) % tabs.length].focus();
  });
});
find("file").addEventListener("change", ({ target }) => target.files.length && open(target.files[0]));
document.querySelectorAll(".sample").forEach((button) => {
  button.addEventListener("click", () => openSample(button.querySelector("img").src).catch(failed));
});
find("clear").addEventListener("click", () => {
  forget();
  drawing.clear();
});
document.addEventListener(
  "paste",
  ({ clipboardData }) => clipboardData?.files.length && open(pictureIn(clipboardData)),
);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  open(pictureIn(event.dataTransfer));
});
find("preview").addEventListener("load", ({ target }) => URL.revokeObjectURL(target.src));

loading.catch(failed);
navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it the page works, only not offline
