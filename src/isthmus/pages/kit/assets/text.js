// Text from data, made visible. All of it reaches the page as text nodes, never as markup.

// Control characters, marks that change the direction of text or take no room, lone surrogates and
// tags. Joiners (U+200C, U+200D) stay: scripts and emoji need them, and they change nothing else.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

function nameOf(character) {
  const code = character.codePointAt(0);
  if (code === 10) return "↵";
  if (code === 9) return "⇥";
  if (code < 32) return String.fromCharCode(0x2400 + code);
  if (code === 127) return "␡";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

// One line of plain text, for attributes and table cells.
function plain(text) {
  return String(text).replace(UNSEEN, nameOf);
}

// The first characters of a text, with an ellipsis where there are more.
function clipped(text, most) {
  const start = Array.from(String(text).slice(0, 2 * most + 2));
  return start.length > most ? `${start.slice(0, most).join("")}…` : start.join("");
}

// The same as nodes, with the placeholders set apart from characters that the data really hold.
function visible(text) {
  const parts = document.createDocumentFragment();
  let done = 0;
  const whole = String(text);
  for (const found of whole.matchAll(UNSEEN)) {
    if (found.index > done) parts.append(whole.slice(done, found.index));
    parts.append(element("span", { class: "mark" }, nameOf(found[0])));
    done = found.index + found[0].length;
  }
  if (done < whole.length) parts.append(whole.slice(done));
  return parts;
}

// Text of any direction, which does not disturb what stands around it.
function isolated(text, attributes) {
  return element("bdi", attributes, visible(text));
}

// An element with attributes and children; strings become text nodes.
function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

// Numbers as people read them.
function figure(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0"; // also minus zero
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return Number(value.toPrecision(digits)).toExponential();
  return String(Number(value.toPrecision(digits)));
}

function percent(share) {
  if (share === null || Number.isNaN(share)) return "–";
  if (share === 0) return "0";
  const value = 100 * share;
  return `${value < 1e-3 ? value.toExponential(0) : Number(value.toPrecision(value < 1 ? 2 : 3))} %`;
}

function inForm(value, form) {
  return form === "share" ? percent(value) : figure(value);
}
