// Metadata of a model file (schema: fmnist_runtime/model_file/metadata.py), read from the bytes of the file:
// onnxruntime-web does not hand it out.

const PREFIX = "fmnist.";
const SCHEMA = 1;
const METADATA_PROPS = 14; // field of ModelProto; its entries have key = 1 and value = 2

/** Returns the metadata as an object of parsed values; throws an Error whose message can be shown. */
export function readMetadata(bytes) {
  const metadata = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const entry = new Map(fields(value));
    const [key, text] = [1, 2].map((part) => new TextDecoder().decode(entry.get(part)));
    if (key.startsWith(PREFIX)) metadata[key.slice(PREFIX.length)] = key === "fmnist.sha256" ? text : JSON.parse(text);
  }
  if (!metadata.schema) throw new Error("the model carries no fmnist metadata: it was not written by fmnist-export");
  if (metadata.schema > SCHEMA) throw new Error("the model is newer than this page: write the page again");
  return metadata;
}

/** The fields of one protobuf message that hold bytes; others are stepped over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new Error("not an ONNX model: the file is damaged or of another kind");
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === 2) {
      const length = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, (at += length))];
    } else if (wire === 0) varint();
    else at += wire === 1 ? 8 : 4;
  }
}

/** Throw unless the file matches the checksum that it carries: its SHA-256 with these 64 digits taken as 0. */
export async function verifyChecksum(bytes, digits) {
  if (!globalThis.crypto?.subtle) return; // there only for pages over https or from this very machine
  const zeroed = bytes.slice();
  // Latin-1 keeps one character for each byte, so that a place in the text is a place in the file.
  const start = new TextDecoder("latin1").decode(bytes).indexOf(digits);
  zeroed.fill(0x30, start, start + digits.length);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", zeroed));
  const found = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== digits) throw new Error("the model file is damaged: load the page again");
}
