// The page: a photo, the camera or a drawing is classified on this device.

import { Camera } from "./camera.js";
import { Classifier } from "./classifier.js";
import { decode } from "./decode.js";
import { Drawing } from "./draw.js";
import { occlusionMap } from "./occlusion.js";
import { toNetworkInput } from "./pipeline.js";
import { find, View } from "./view.js";

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */

const preview = find("preview", HTMLImageElement);
const view = new View();
const loading = load();
const camera = new Camera(find("video", HTMLVideoElement));
const drawing = new Drawing(
  find("canvas", HTMLCanvasElement),
  find("cursor", HTMLElement),
  find("pen", HTMLInputElement),
  () => queueDrawing(drawing.picture()),
);
let pictureNumber = 0; // number of the current picture; answers to earlier ones are dropped
/** @type {RgbaImage | null} */
let waiting = null; // newest drawing, not yet classified
/** @type {Blob | null} */
let photo = null; // file that the preview shows
let remark = ""; // message to the answer of this photo

async function load() {
  const classifier = await Classifier.load();
  view.prepareBars(classifier.labels);
  const test = await classifier.selftest();
  if (test) view.showSelftest(test.same, test.images);
  document.documentElement.dataset.ready = "true";
  return classifier;
}

/**
 * Classifies a picture and shows the answer. Once another picture or source is chosen, both the answer and a failure are
 * dropped.
 * @param {RgbaImage | Promise<RgbaImage>} picture
 * @param {boolean} explain Whether the evidence of each pixel is shown, too.
 * @param {string} message Shown with the answer.
 */
async function classify(picture, explain = true, message = "") {
  const number = ++pictureNumber;
  try {
    const [classifier, pixels] = await Promise.all([loading, picture]);
    if (number !== pictureNumber) return;
    const begin = performance.now();
    const input = toNetworkInput(pixels);
    const middle = performance.now();
    const answer = classifier.classify(input);
    const end = performance.now();
    view.showMessage(message);
    view.showAnswer(answer, classifier.labels, input);
    view.showTime(middle - begin, end - middle);
    if (!explain) return view.hideEvidence();
    const [first, second] = answer.order;
    const map = await occlusionMap(classifier, input, first, second);
    if (number === pictureNumber) view.showEvidence(input, map, classifier.labels[first], classifier.labels[second]);
  } catch (error) {
    if (number === pictureNumber) throw error;
  }
}

/** Removes the answer, and drops answers that are still being computed. */
function dropAnswer() {
  pictureNumber++;
  waiting = null;
  view.showMessage("");
  view.hideAnswer();
}

/** @param {Error} error */
function showFailure(error) {
  view.hideAnswer();
  view.showMessage(error.message);
}

/**
 * Classifies the newest drawing once the browser is idle; earlier ones need no answer.
 * @param {RgbaImage} picture
 */
function queueDrawing(picture) {
  if (!waiting) setTimeout(() => classifyNewestDrawing().catch(showFailure));
  waiting = picture;
}

async function classifyNewestDrawing() {
  const picture = waiting;
  waiting = null;
  if (picture) await classify(picture);
}

async function classifyPhoto() {
  if (!photo) return;
  try {
    await classify(decode(photo), true, remark);
  } catch (error) {
    photo = null;
    preview.hidden = true;
    throw error;
  }
}

/**
 * @param {Blob | undefined} file
 * @param {string} message Shown with the answer.
 */
function open(file, message = "") {
  if (!file) return view.showMessage("There is no picture in this.");
  photo = file;
  remark = message;
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  choose("photo");
}

/**
 * Opens one of the page's own photos.
 * @param {string} address
 */
async function openSample(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error("This example cannot be fetched: load the page again.");
  open(await response.blob());
}

/** @type {Record<string, () => Promise<void>>} */
const SOURCES = {
  photo: classifyPhoto,
  camera: () => camera.start((picture) => classify(picture, false)),
  draw: async () => {
    if (!drawing.empty) await classify(drawing.picture());
  },
};

/**
 * Shows one of the three sources, and the answer to its picture.
 * @param {string} source
 */
function choose(source) {
  dropAnswer();
  camera.stop();
  for (const name of Object.keys(SOURCES)) {
    const tab = find(`${name}-tab`, HTMLElement);
    find(name, HTMLElement).hidden = name !== source;
    tab.ariaSelected = String(name === source);
    tab.tabIndex = name === source ? 0 : -1;
  }
  view.announceAnswers(source !== "camera"); // five answers a second are too many for a screen reader
  SOURCES[source]().catch(showFailure);
}

/**
 * Opens the first picture of what was dropped or pasted.
 * @param {DataTransfer | null} items
 */
function openFirst(items) {
  const files = [...(items?.files ?? [])];
  const picture = files.find((file) => file.type.startsWith("image/")) ?? files[0];
  open(picture, files.length > 1 ? `One picture at a time: this is ${picture.name}.` : "");
}

const tabs = [...document.querySelectorAll("[role=tab]")].filter((tab) => tab instanceof HTMLElement);
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => choose(tab.id.replace("-tab", "")));
  tab.addEventListener("keydown", ({ key }) => {
    const step = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? tabs.length - 1 : 0;
    if (step) tabs[(i + step) % tabs.length].focus();
  });
});
const file = find("file", HTMLInputElement);
file.addEventListener("change", () => file.files?.length && open(file.files[0]));
for (const sample of document.querySelectorAll(".sample")) {
  const image = sample.querySelector("img");
  sample.addEventListener("click", () => image && openSample(image.src).catch(showFailure));
}
find("clear", HTMLElement).addEventListener("click", () => {
  dropAnswer();
  drawing.clear();
});
document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData?.files.length) openFirst(clipboardData);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  openFirst(event.dataTransfer);
});
preview.addEventListener("load", () => URL.revokeObjectURL(preview.src));

/** Loads a newer version of the page, or offers it where this one is in use, or has been loaded again just now. */
function replacePage() {
  const [navigation] = performance.getEntriesByType("navigation");
  const again = navigation instanceof PerformanceNavigationTiming && navigation.type === "reload";
  if (pictureNumber || again) find("newer", HTMLElement).hidden = false;
  else location.reload();
}

loading.catch(showFailure);
const workers = navigator.serviceWorker;
if (workers?.controller) workers.addEventListener("controllerchange", replacePage);
workers?.register("sw.js").catch(() => {}); // without it the page works, but not offline
