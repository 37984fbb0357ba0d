// From a file to upright pixels. The browser decodes; a large image is shrunk as in the command, one band of rows at a time,
// so that a phone's memory does not contain the whole image twice.

import { reduce } from "./resample.js";

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */

const DRAFT_SIDE = 256; // see fmnist_runtime/image_io/decode.py
const LARGE_SIDE = 2048; // see fmnist_runtime/image_io/pixel_formats.py
const MAX_PIXELS = 100_000_000;
const BAND_PIXELS = 4_000_000; // pixels of one band
const STARTS = 1024; // bytes in which a format is recognized
const MOST_CHUNKS = 1000; // of a WebP file, as an animation has them before its EXIF
const LONGEST_EXIF = 1 << 16; // bytes in which the orientation is looked for
const NO_MEMORY = "This browser has no memory for the picture: close other pages.";
/** First bytes of formats that every browser reads; see starts_picture in fmnist_runtime/image_io/left_out.py. */
const READ = /^(\xff\xd8\xff|\x89PNG|GIF8|.{8}WEBP|.{4}ftypavi[fs])/s;
/** @type {[RegExp, string][]} First bytes of formats that not every browser reads; see fmnist_runtime/image_io/unsupported.py. */
const UNREAD = [
  [/^.{4}ftyp(hei|hev|mif1|msf1)/s, "a HEIC photo"],
  [/^(II\*\0|MM\0\*|.{4}ftypcrx |FUJIFILMCCD)/s, "a TIFF or a camera's raw file"],
  [/^(\xff\n|.{4}JXL )/s, "a JPEG XL image"],
  [/^(.{4}ftyp|.E\xdf\xa3)/s, "a video"],
  [/^%PDF/, "a PDF document"],
  [/<svg/i, "an SVG drawing"],
];

/**
 * Decodes an image. Throws an Error whose message can be shown.
 * @param {Blob} blob
 * @returns {Promise<RgbaImage>}
 */
export async function decode(blob) {
  const orientation = await orientationOfWebp(blob);
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: orientation ? "none" : "from-image",
    colorSpaceConversion: "none",
  }).catch(async () => {
    throw new Error(await describeUnread(blob));
  });
  if (bitmap.width * bitmap.height > MAX_PIXELS)
    throw new Error("This picture is too large: at most 100 million pixels.");
  if (orientation) {
    const canvas = upright(bitmap, orientation);
    return pixelsOf(canvas, canvas.width, canvas.height, factorFor(canvas, false));
  }
  const jpeg = new Uint8Array(await blob.slice(0, 2).arrayBuffer()).join() === "255,216";
  return pixelsOf(bitmap, bitmap.width, bitmap.height, factorFor(bitmap, jpeg));
}

/**
 * Returns the EXIF orientation of a WebP file, which Chromium ignores: 2 to 8, or 0 where there is nothing to turn. The chunks
 * are those of https://developers.google.com/speed/webp/docs/riff_container.
 * @param {Blob} blob
 */
async function orientationOfWebp(blob) {
  /** @param {number} start @param {number} length */
  const read = async (start, length) => new DataView(await blob.slice(start, start + length).arrayBuffer());
  /** @param {DataView} view @param {number} at @param {string} text */
  const has = (view, at, text) =>
    view.byteLength >= at + text.length && [...text].every((each, i) => view.getUint8(at + i) === each.charCodeAt(0));
  if (!has(await read(0, 16), 8, "WEBPVP8X")) return 0; // the simple files have no EXIF
  for (let start = 12, chunks = 0; start + 8 < blob.size && chunks < MOST_CHUNKS; chunks++) {
    const head = await read(start, 8);
    const length = head.getUint32(4, true);
    if (has(head, 0, "EXIF")) return orientationOf(await read(start + 8, Math.min(length, LONGEST_EXIF)));
    start += 8 + length + (length % 2);
  }
  return 0;
}

/**
 * Returns the orientation in EXIF data, 2 to 8; 0 if there is none, or it is upright.
 * @param {DataView} exif
 */
function orientationOf(exif) {
  try {
    const base = exif.getUint32(0) === 0x45786966 ? 6 : 0; // some programs write JPEG's "Exif\0\0" before it
    const little = exif.getUint16(base) === 0x4949;
    const directory = base + exif.getUint32(base + 4, little);
    const entries = exif.getUint16(directory, little);
    for (let at = directory + 2; at < directory + 2 + 12 * entries; at += 12) {
      const value = exif.getUint16(at + 8, little);
      if (exif.getUint16(at, little) === 0x0112) return value > 1 && value <= 8 ? value : 0;
    }
  } catch {
    return 0; // beyond the end: damaged data state nothing
  }
  return 0;
}

/**
 * Returns a canvas with the image turned or mirrored as its EXIF orientation states.
 * @param {ImageBitmap} bitmap
 * @param {number} orientation
 */
function upright(bitmap, orientation) {
  const { width: w, height: h } = bitmap;
  const canvas = orientation < 5 ? new OffscreenCanvas(w, h) : new OffscreenCanvas(h, w);
  const context = canvas.getContext("2d");
  if (!context) throw new Error(NO_MEMORY);
  const matrices = [
    [-1, 0, 0, 1, w, 0],
    [-1, 0, 0, -1, w, h],
    [1, 0, 0, -1, 0, h],
    [0, 1, 1, 0, 0, 0],
    [0, 1, -1, 0, h, 0],
    [0, -1, -1, 0, h, w],
    [0, -1, 1, 0, 0, w],
  ];
  context.setTransform(new DOMMatrix(matrices[orientation - 2]));
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

/**
 * Describes a file that this browser does not decode: what is wrong, or its format, if recognized, and what to do.
 * @param {Blob} blob
 */
async function describeUnread(blob) {
  if (!blob.size) return "This file is empty.";
  const start = String.fromCharCode(...new Uint8Array(await blob.slice(0, STARTS).arrayBuffer()));
  if (READ.test(start)) return "This picture is damaged or incomplete, or of a kind that this browser does not read.";
  const format = UNREAD.find(([signature]) => signature.test(start))?.[1];
  return format
    ? `This is ${format}, which this browser does not read: convert it to JPEG or PNG first.`
    : "This is not a picture, or in a format that this browser does not read.";
}

/**
 * Returns the factor by which an image is shrunk first.
 * @param {{ width: number, height: number }} size
 * @param {boolean} jpeg
 */
function factorFor({ width, height }, jpeg) {
  // The command's decoder shrinks JPEG files to a half, a quarter or an eighth.
  if (jpeg) return [8, 4, 2].find((factor) => Math.floor(Math.min(width, height) / DRAFT_SIDE) >= factor) ?? 1;
  const longest = Math.max(width, height);
  return longest > LARGE_SIDE ? Math.floor(longest / (LARGE_SIDE / 2)) : 1;
}

/**
 * Returns the pixels of a bitmap, video or canvas, averaged over blocks of factor × factor.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {number} factor
 * @returns {RgbaImage}
 */
export function pixelsOf(source, width, height, factor = 1) {
  const rows = Math.max(factor, Math.floor(BAND_PIXELS / width / factor) * factor);
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error(NO_MEMORY);
  const bands = [];
  for (let top = 0; top < height; top += rows) {
    const band = Math.min(rows, height - top);
    context.clearRect(0, 0, width, band);
    context.drawImage(source, 0, top, width, band, 0, 0, width, band);
    const image = { rgba: context.getImageData(0, 0, width, band).data, width, height: band };
    bands.push(factor > 1 ? reduce(image, factor) : image);
  }
  if (bands.length === 1) return bands[0];
  const rgba = new Uint8ClampedArray(bands.reduce((sum, band) => sum + band.rgba.length, 0));
  bands.reduce((at, band) => (rgba.set(band.rgba, at), at + band.rgba.length), 0);
  return { rgba, width: bands[0].width, height: rgba.length / 4 / bands[0].width };
}
