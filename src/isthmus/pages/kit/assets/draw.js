// Pictures of inputs: images on canvases, vectors as lines.

// Bytes (height, width, channels) as an image; one channel is grey. What is not lit is pale.
function image(bytes, setting, scale, lit) {
  return canvasOf(setting, scale, (i) => {
    const c = setting.channels;
    const colour = c === 3 ? [bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]] : Array(3).fill(bytes[i]);
    return !lit || lit(i) ? colour : colour.map((v) => Math.round(168 + 0.3 * (v - 168)));
  });
}

// Which pixels belong to the patch of a token; all of them where it stands for the whole image.
function patchAt(place, setting) {
  const { leading, side, width, height } = setting;
  const k = place - leading;
  if (!side || k < 0) return null;
  const [row, column] = [Math.floor(k / side), k % side];
  const within = (pixel, size, at) => Math.floor((pixel * side) / size) === at;
  return (i) => within(Math.floor(i / width), height, row) && within(i % width, width, column);
}

// Signed bytes as a change: blue where it darkens, red where it brightens, in shares of the most.
function change(bytes, setting, scale) {
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  return canvasOf(setting, scale, (i) => {
    let sum = 0;
    for (let k = 0; k < setting.channels; k++) sum += signed[i * setting.channels + k];
    const t = Math.max(-1, Math.min(1, sum / setting.channels / 127));
    const pale = (strong) => Math.round(247 + (strong - 247) * Math.abs(t));
    return t < 0 ? [pale(33), pale(102), pale(172)] : [pale(178), pale(24), pale(43)];
  });
}

function canvasOf(setting, scale, colour) {
  const { height, width } = setting;
  const node = element("canvas", { width, height, class: "picture" });
  const times = scale || Math.max(1, Math.round(56 / Math.max(height, width)));
  node.style.width = `${width * times}px`;
  node.style.height = `${height * times}px`;
  const context = node.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue] = colour(i);
    pixels.data.set([red, green, blue, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return node;
}

// Vectors (or series, one line a channel) over their elements. Each line is {values, class}.
function profile(lines, setting, size) {
  const { channels, names } = setting;
  const steps = lines[0].values.length / channels;
  const drawn = [];
  for (const { values, kind } of lines) {
    for (let c = 0; c < channels; c++) {
      const y = Array.from({ length: steps }, (_, i) => values[i * channels + c]);
      drawn.push({ x: y.map((_, i) => i), y, kind });
    }
  }
  const label = names && names.length ? (i) => plain(names[Math.round(i)] ?? "") : (i) => figure(i);
  return lineChart(drawn, { ...size, labelOfX: label, points: steps <= 40 });
}

// Rows of named columns as a table.
function namedTable(rows, names, heads) {
  const head = element("tr", {}, element("th", {}, "column"));
  for (const title of heads) head.append(element("th", { class: "number" }, title));
  const body = names.map((name, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, isolated(name)),
      rows.map((row) => element("td", { class: "number" }, figure(row[i]))),
    ),
  );
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, body)));
}
