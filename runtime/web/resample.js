// Resizing with the same bits as Pillow (libImaging/Resample.c and Reduce.c): integer weights for bytes, double precision for
// floats, first along the rows, then along the columns.

/** @typedef {import("./array_ops.js").RgbaImage} RgbaImage */
/** @typedef {{first: number, weights: number[]}} Span First source pixel of a new pixel, and weights of it and the next ones. */

/** Fraction bits of an integer weight. */
const BITS = 22;
/** @type {Record<string, {support: number, weigh: (x: number) => number}>} */
const FILTERS = {
  box: { support: 0.5, weigh: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bicubic: { support: 2, weigh: (x) => cubic(Math.abs(x)) },
};

/** @param {number} x */
function cubic(x) {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/**
 * Computes Image.resize(BOX, reducing_gap=2) of RGBA bytes, with premultiplied colors.
 * @param {RgbaImage} image
 * @param {number} width
 * @param {number} height
 * @returns {RgbaImage}
 */
export function shrink(image, width, height) {
  const opaque = isOpaque(image.rgba);
  let { rgba } = opaque ? image : { rgba: premultiply(image.rgba) };
  let { width: w, height: h } = image;
  let [spanX, spanY] = [w, h];
  const factorX = Math.trunc(w / width / 2) || 1;
  const factorY = Math.trunc(h / height / 2) || 1;
  if (factorX > 1 || factorY > 1) {
    ({ rgba, width: w, height: h } = reduce({ rgba, width: w, height: h }, factorX, factorY));
    [spanX, spanY] = [Math.fround(spanX / factorX), Math.fround(spanY / factorY)];
  }
  if (w !== width || spanX !== width)
    rgba = bytesAlong(rgba, h, w, { pixel: 4, line: 4 * w }, spans(w, spanX, width, "box"));
  if (h !== height || spanY !== height) {
    rgba = bytesAlong(rgba, width, h, { pixel: 4 * width, line: 4 }, spans(h, spanY, height, "box"));
  }
  return { rgba: opaque ? rgba : unpremultiply(rgba), width, height };
}

/** @param {RgbaImage["rgba"]} rgba */
export function isOpaque(rgba) {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return false;
  return true;
}

/** @param {RgbaImage["rgba"]} rgba */
function premultiply(rgba) {
  return rgba.map((value, i) => {
    if (i % 4 === 3) return value;
    const product = value * rgba[i | 3] + 128;
    return ((product >> 8) + product) >> 8;
  });
}

/** @param {RgbaImage["rgba"]} rgba */
function unpremultiply(rgba) {
  return rgba.map((value, i) => {
    const alpha = rgba[i | 3];
    return i % 4 === 3 || alpha === 0 || alpha === 255 ? value : Math.min(255, Math.trunc((255 * value) / alpha));
  });
}

/**
 * Computes Image.reduce: means of whole blocks; blocks at the right and lower edge may be smaller.
 * @param {RgbaImage} image
 * @param {number} factorX
 * @param {number} factorY
 */
export function reduce({ rgba, width, height }, factorX, factorY = factorX) {
  const w = Math.ceil(width / factorX),
    h = Math.ceil(height / factorY);
  const out = new Uint8ClampedArray(4 * w * h);
  for (let y = 0, to = 0; y < h; y++) {
    const rows = Math.min(factorY, height - y * factorY);
    for (let x = 0; x < w; x++, to += 4) {
      const columns = Math.min(factorX, width - x * factorX);
      const half = (rows * columns) >> 1;
      const sum = [half, half, half, half];
      for (let v = 0; v < rows; v++) {
        let at = 4 * ((y * factorY + v) * width + x * factorX);
        for (let u = 0; u < columns; u++, at += 4) for (let c = 0; c < 4; c++) sum[c] += rgba[at + c];
      }
      const inverse = Math.trunc(Math.fround(4294967296 / (256 * rows * columns)));
      for (let c = 0; c < 4; c++) out[to + c] = Math.imul(sum[c], inverse) >>> 24;
    }
  }
  return { rgba: out, width: w, height: h };
}

/**
 * Returns the source pixels of each new pixel and their weights.
 * @param {number} size Source pixels.
 * @param {number} span Length that is resized, in source pixels; not necessarily whole.
 * @param {number} newSize
 * @param {string} name A filter.
 * @returns {Span[]}
 */
function spans(size, span, newSize, name) {
  const { support, weigh } = FILTERS[name];
  const scale = span / newSize;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: newSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support * stretch + 0.5));
    const end = Math.min(size, Math.trunc(center + support * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, x) => weigh((x + first - center + 0.5) * (1 / stretch)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => (total ? weight / total : weight)) };
  });
}

/**
 * @param {RgbaImage["rgba"]} rgba
 * @param {number} lines
 * @param {number} size
 * @param {{pixel: number, line: number}} strides
 * @param {Span[]} positions
 */
function bytesAlong(rgba, lines, size, { pixel, line }, positions) {
  const out = new Uint8ClampedArray((rgba.length / size) * positions.length);
  const newLine = line === 4 ? 4 : 4 * positions.length; // distance between columns, or between rows
  for (let i = 0; i < positions.length; i++) {
    const whole = Int32Array.from(positions[i].weights, (weight) => Math.trunc(0.5 + weight * 2 ** BITS));
    const first = positions[i].first * pixel;
    for (let k = 0; k < lines; k++) {
      for (let c = 0; c < 4; c++) {
        let sum = 1 << (BITS - 1);
        for (let x = 0, at = k * line + first + c; x < whole.length; x++, at += pixel)
          sum += Math.imul(rgba[at], whole[x]);
        out[k * newLine + i * pixel + c] = sum >> BITS;
      }
    }
  }
  return out;
}

/**
 * Computes Image.resize of floats.
 * @param {Float32Array} values
 * @param {number} width
 * @param {number} height
 * @param {number} newWidth
 * @param {number} newHeight
 * @param {string} filter
 */
export function resizeFloats(values, width, height, newWidth, newHeight, filter) {
  if (width !== newWidth)
    values = floatsAlong(values, height, [1, width], [1, newWidth], spans(width, width, newWidth, filter));
  if (height !== newHeight) {
    values = floatsAlong(values, newWidth, [newWidth, 1], [newWidth, 1], spans(height, height, newHeight, filter));
  }
  return values;
}

/**
 * @param {Float32Array} values
 * @param {number} lines
 * @param {number[]} strides Between source pixels along and across.
 * @param {number[]} newStrides The same of the result.
 * @param {Span[]} positions
 */
function floatsAlong(values, lines, [pixel, line], [newPixel, newLine], positions) {
  const out = new Float32Array(lines * positions.length);
  positions.forEach(({ first, weights }, i) => {
    for (let k = 0; k < lines; k++) {
      let sum = 0;
      for (let x = 0; x < weights.length; x++) sum += values[k * line + (first + x) * pixel] * weights[x];
      out[k * newLine + i * newPixel] = sum;
    }
  });
  return out;
}
