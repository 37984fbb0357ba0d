// From a file to pixels, upright. The browser decodes; what is large is shrunk as the command does it, a band of rows at a
// time, so that a telephone need not hold the whole picture twice.

import { reduce } from "./resample.js";

const DRAFT_SIDE = 256; // see fmnist_runtime/images.py
const LARGE_SIDE = 2048; // see fmnist_runtime/modes.py
const MAX_PIXELS = 100_000_000;

/** Decode a picture. Throws an Error whose message can be shown. */
export async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("This is not a picture, or in a format that this browser does not read.");
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS)
    throw new Error("This picture is too large: at most 100 million pixels.");
  const jpeg = new Uint8Array(await blob.slice(0, 2).arrayBuffer()).join() === "255,216";
  return pixelsOf(bitmap, bitmap.width, bitmap.height, factorFor(bitmap, jpeg));
}

function factorFor({ width, height }, jpeg) {
  // The command lets its decoder do this to JPEG files: half, a quarter or an eighth.
  if (jpeg) return [8, 4, 2].find((factor) => Math.floor(Math.min(width, height) / DRAFT_SIDE) >= factor) ?? 1;
  const longest = Math.max(width, height);
  return longest > LARGE_SIDE ? Math.floor(longest / (LARGE_SIDE / 2)) : 1;
}

/** The pixels of a bitmap, video or canvas, averaged over blocks of factor × factor. */
export function pixelsOf(source, width, height, factor = 1) {
  const rows = Math.max(factor, Math.floor(4_000_000 / width / factor) * factor);
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const bands = [];
  for (let top = 0; top < height; top += rows) {
    const band = Math.min(rows, height - top);
    context.clearRect(0, 0, width, band);
    context.drawImage(source, 0, top, width, band, 0, 0, width, band);
    const picture = { rgba: context.getImageData(0, 0, width, band).data, width, height: band };
    bands.push(factor > 1 ? reduce(picture, factor) : picture);
  }
  if (bands.length === 1) return bands[0];
  const rgba = new Uint8ClampedArray(bands.reduce((sum, band) => sum + band.rgba.length, 0));
  bands.reduce((at, band) => (rgba.set(band.rgba, at), at + band.rgba.length), 0);
  return { rgba, width: bands[0].width, height: rgba.length / 4 / bands[0].width };
}
