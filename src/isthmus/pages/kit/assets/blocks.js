// The blocks of data: small ones parsed at once, packed ones when they are first needed.

const parsed = (name) => JSON.parse(document.getElementById(name).textContent);

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function arrayOf(block) {
  if (!block) return null;
  const { buffer } = bytesOf(block.data);
  return block.dtype === "i4" ? new Int32Array(buffer) : new Float32Array(buffer);
}

// The page is shown while the browser still reads the blocks behind the script.
const everythingIsThere = new Promise((done) => {
  if (document.readyState !== "loading") done();
  else document.addEventListener("DOMContentLoaded", () => done());
});

// A packed block: the length of its JSON in four bytes, the JSON, and bytes that it refers to.
async function unpacked(name) {
  await everythingIsThere;
  const block = document.getElementById(name);
  if (!block) throw new Error(`the page has no block ${name}: it was cut short`);
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser cannot open compressed data: use one of 2023 or later");
  }
  const stream = new Blob([bytesOf(JSON.parse(block.textContent))]).stream();
  const opened = stream.pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(opened).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const value = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  // A copy, so that numbers of four bytes lie at multiples of four.
  return { value, binary: new Uint8Array(buffer.slice(4 + length)) };
}

const KEPT = 24;
const opened = new Map();

function blockNamed(name) {
  if (!opened.has(name)) {
    opened.set(name, unpacked(name));
    if (opened.size > KEPT) opened.delete(opened.keys().next().value);
  }
  return opened.get(name);
}

function part(binary, [start, length]) {
  return binary.slice(start, start + length);
}

const floats = (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
