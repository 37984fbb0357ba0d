// Service worker: keeps the whole page for use offline. fmnist-infer web fills in the files and their version.

/** @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (globalThis);
/** @type {string[]} */
const FILES = [];
const VERSION = "";
const PREFIX = `${worker.registration.scope} `; // other pages of the same origin have caches of their own
const CACHE = PREFIX + VERSION;

worker.addEventListener("install", (event) => {
  const storeAll = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
    await worker.skipWaiting(); // or an open tab would keep the old model; see the end of app.js
  };
  event.waitUntil(storeAll());
});

worker.addEventListener("activate", (event) => {
  const removeOldVersions = async () => {
    const outdated = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(outdated.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  event.waitUntil(removeOldVersions());
});

worker.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== worker.location.origin) return;
  const respond = async () =>
    (await (await caches.open(CACHE)).match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
  event.respondWith(respond());
});
