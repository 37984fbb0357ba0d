// Prints nothing; writes the logits of many images, computed by the page's own scripts in Node.js:
// node run_network.mjs PAGE KERNELS IMAGES OUTPUT, where IMAGES holds uint8 [N, 28, 28] and OUTPUT float32 [N, classes].

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [page, kernels, images, output] = process.argv.slice(2);
const [{ Network }, { readModel }] = await Promise.all(
  ["kernels.js", "model_file.js"].map((name) => import(pathToFileURL(`${page}/${name}`))),
);
const { metadata, data } = await readModel(new Uint8Array(await readFile(`${page}/model.bin`)));
const network = await Network.load(await readFile(`${page}/${kernels}`), data, metadata.memory, metadata.labels.length);
const pixels = new Uint8Array(await readFile(images));
const side = 28 * 28;
const logits = [];
const begin = performance.now();
for (let i = 0; i < pixels.length; i += side) logits.push(network.logits(pixels.subarray(i, i + side)));
const time = (performance.now() - begin) / logits.length;
if (process.env.FMNIST_TIME) console.error(`${time.toFixed(3)} ms an image`);
await writeFile(output, Buffer.concat(logits.map((row) => Buffer.from(row.buffer))));
