// Model file of the page; fmnist_runtime/network/page_model.py defines the format.

const MAGIC = "FMNISTW";
const VERSION = "1";
const HASH = 8; // offset of the SHA-256, in bytes
const CONTENT = 40; // offset of what the SHA-256 covers
const DIGEST_BYTES = 32;

/**
 * @typedef {{ score: string, threshold: number }} RejectRule
 * @typedef {{ images: string, logits: string }} SelfTest Images packed with zlib, and float32 logits; both in base64.
 * @typedef {object} Metadata
 * @property {string[]} labels Class names.
 * @property {number} temperature Divisor of the logits.
 * @property {RejectRule | null} reject
 * @property {SelfTest | null} selftest
 * @property {string} sha256 Checksum of the ONNX file.
 * @property {import("./kernels.js").MemoryLayout} memory
 */

/**
 * Verifies a model file, and returns its metadata and its network's data. Throws an Error whose message can be shown.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export async function readModel(bytes) {
  const magic = new TextDecoder().decode(bytes.subarray(0, HASH));
  if (bytes.length < CONTENT + 4 || !magic.startsWith(MAGIC)) throw new Error("this is not a model file of the page");
  if (magic !== MAGIC + VERSION) throw new Error("the model is newer than this page: write the page again");
  await verifyChecksum(bytes.subarray(HASH, HASH + DIGEST_BYTES), bytes.subarray(CONTENT));
  const start = CONTENT + 4;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(CONTENT, true);
  const metadata = /** @type {Metadata} */ (
    JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + length)))
  );
  return { metadata, data: bytes.subarray(start + length) };
}

/**
 * Throws unless the content has this SHA-256.
 * @param {Uint8Array} expected
 * @param {Uint8Array<ArrayBuffer>} content
 */
async function verifyChecksum(expected, content) {
  if (!globalThis.crypto?.subtle) return; // browsers give it to pages over https and from localhost only
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  if (!found.every((byte, i) => byte === expected[i]))
    throw new Error("the model file is damaged: load the page again");
}
