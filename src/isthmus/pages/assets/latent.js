// The panel of one latent.

let showing = 0;

async function showLatent(panel, place) {
  const turn = ++showing;
  let found;
  try {
    found = await detailOf(place);
  } catch (problem) {
    panel.replaceChildren(element("p", { class: "note" }, plain(problem.message)));
    return;
  }
  if (turn !== showing) return;
  const { detail, binary } = found;
  const [strongest, ...others] = examplesOf(detail, binary);
  const parts = [
    headOf(place),
    labelsOf(detail),
    figuresOf(place),
    section("What it adds to the reconstruction", detail.atom ? atomOf(detail, binary) : null),
    section("Traversal", detail.traversal ? traversalOf(detail, binary) : null),
    wordsOf(detail),
    strongest,
    section("Values", detail.h ? valuesOf(detail) : null),
    section("Nearest by decoder direction", neighboursOf(detail.near)),
    section(latents.dense ? "Most correlated" : "Fires together with", neighboursOf(detail.joint, latents.joint_about)),
    ...others,
  ];
  panel.replaceChildren(...parts.filter(Boolean));
  panel.scrollTop = 0;
}

function section(title, content) {
  return content ? element("section", {}, element("h3", {}, title), content) : null;
}

function headOf(place) {
  const move = (by, sign, name) =>
    element("button", { type: "button", title: name, "aria-label": name, onclick: () => step(by) }, sign);
  return element(
    "div",
    { class: "panel-head" },
    element("h2", {}, `Latent ${latents.ids[place]}`),
    move(-1, "↑", "the one above in the table"),
    move(1, "↓", "the one below in the table"),
  );
}

function labelsOf(detail) {
  if (!detail.labels) return null;
  return element(
    "div",
    { class: "labels" },
    detail.labels.map(({ label, method, scores, examples }) => {
      const about = [method, examples > 0 ? `from ${figure(examples)} examples` : ""];
      for (const [name, value, low, high] of scores) {
        const range = low === undefined || low === null ? "" : ` (${figure(low, 2)} to ${figure(high, 2)})`;
        about.push(`${name} ${figure(value)}${range}`);
      }
      return element(
        "p",
        { class: "label" },
        isolated(label, { class: "text" }),
        element("span", { class: "quiet" }, plain(about.filter(Boolean).join(" · "))),
      );
    }),
  );
}

function figuresOf(place) {
  const list = element("dl", { class: "figures" });
  for (const column of latents.columns) {
    if (Number.isNaN(column.values[place])) continue;
    const value = inForm(column.values[place], column.form);
    list.append(element("div", { title: column.about }, element("dt", {}, column.title), element("dd", {}, value)));
  }
  return list;
}

function valuesOf(detail) {
  const [low, high] = detail.hr;
  const width = (high - low) / detail.h.length;
  const say = (i) => `${figure(low + i * width)} to ${figure(low + (i + 1) * width)}: ${figure(detail.h[i])}`;
  const chart = barChart(detail.h, { low, high, width: 420, logY: true, say });
  const of = latents.dense ? "all rows" : latents.kind === "text" ? "tokens where it fires" : "rows where it fires";
  return element("figure", {}, chart, element("figcaption", {}, `${of}; counts on a log scale`));
}

const tokenNode = (token, attributes) => isolated(words[token] ?? "", { class: "token", ...attributes });

function sharesOf(pairs) {
  const most = Math.max(...pairs.map(([, share]) => share || 0)) || 1;
  const list = element("ul", { class: "shares" });
  for (const [token, share] of pairs) {
    const bar = element("span", { class: "bar-box" }, element("span", { class: "fill" }));
    bar.firstChild.style.width = `${(100 * (share || 0)) / most}%`;
    list.append(element("li", {}, tokenNode(token), bar, element("span", { class: "quiet" }, percent(share))));
  }
  return list;
}

// The tokens that it fires on beside those that it makes likelier and less likely.
function wordsOf({ tokens = [], up = [], down = [] }) {
  const values = (pairs) =>
    element(
      "ul",
      { class: "logits" },
      pairs.map(([token, value]) =>
        element("li", {}, tokenNode(token), element("span", { class: "quiet" }, `${value > 0 ? "+" : ""}${figure(value)}`)),
      ),
    );
  const columns = [
    section("Tokens it fires on", tokens.length ? sharesOf(tokens) : null),
    section("Raises the logits of", up.length ? values(up) : null),
    section("Lowers the logits of", down.length ? values(down) : null),
  ].filter(Boolean);
  return columns.length ? element("div", { class: "columns" }, columns) : null;
}

function neighboursOf(pairs, about) {
  const known = (pairs || []).filter(([id]) => latents.place.has(id));
  if (!known.length) return null;
  const list = element(
    "ul",
    { class: "neighbours" },
    known.map(([id, value]) => {
      const place = latents.place.get(id);
      const text = clipped(labelOf(place) || tokensOf(place, 3), 60);
      return element(
        "li",
        {},
        element("a", { href: `#latent=${id}` }, String(id)),
        element("span", { class: "quiet" }, figure(value, 2)),
        text ? element("bdi", { class: "hint" }, plain(text)) : null,
      );
    }),
  );
  return about ? element("div", {}, list, element("p", { class: "quiet" }, plain(about))) : list;
}

// --- text -------------------------------------------------------------------------------------

function examplesOf(detail, binary) {
  if (latents.kind !== "text") return inputsOf(detail);
  const { examples } = detail;
  const tokens = tokensIn(examples, binary);
  const shares = new Int8Array(binary.buffer, examples.at[1], tokens.length);
  const groups = new Map();
  let at = 0;
  examples.length.forEach((length, k) => {
    const group = examples.group[k];
    if (!groups.has(group)) groups.set(group, []);
    const own = [at, at + length];
    groups.get(group).push(exampleOf(examples, k, tokens.subarray(...own), shares.subarray(...own)));
    at += length;
  });
  if (!groups.size) return [section("Examples", element("p", { class: "quiet" }, "It fires on nothing in the text."))];
  return [...groups].map(([group, shown]) => {
    const which = group === 10 ? ", the strongest" : group === 1 ? ", the weakest" : "";
    const title = group === 0 ? "Strongest examples" : `Decile ${group}${which}`;
    return section(title, element("div", { class: "examples" }, shown));
  });
}

// The tokens of all examples of a latent, behind one another.
function tokensIn(examples, binary) {
  const total = examples.length.reduce((sum, length) => sum + length, 0);
  return new (latents.wide ? Uint32Array : Uint16Array)(binary.buffer, examples.at[0], total);
}

function exampleOf(examples, k, tokens, shares) {
  const [place, begin, value] = [examples.place[k], examples.begin[k], examples.value[k]];
  const where = `document ${examples.document[k]}, token ${place}`;
  const line = element("bdi", { class: "line-of-text", dir: "auto" });
  if (!tokens.length) line.append(where); // of activations without a text
  tokens.forEach((token, i) => {
    const share = shares[i];
    const word = words[token] ?? "";
    if (!share) {
      line.append(visible(word));
      return;
    }
    const peak = begin + i === place ? " peak" : "";
    const node = element("span", { class: `fires ${share < 0 ? "minus" : "plus"}${peak}` }, visible(word));
    node.style.setProperty("--strength", Math.min(1, Math.abs(share) / 100));
    node.title = `${plain(clipped(word, 40))}: ${figure((value * share) / (shares[place - begin] || share), 2)}`;
    line.append(node);
  });
  return element(
    "div",
    { class: "example" },
    element("span", { class: "value", title: where }, figure(value)),
    line,
  );
}

// --- images and vectors -----------------------------------------------------------------------

const isImage = () => latents.kind === "image";

// What a latent adds, as a picture so many pixels wide.
function atomPicture(detail, binary, wanted = 120) {
  const [start, length] = detail.atom;
  return change(part(binary, [start, length]), latents, Math.max(1, Math.round(wanted / latents.width)));
}

function atomOf(detail, binary, size = { width: 620, height: 180 }) {
  const [start, length, most] = detail.atom;
  if (isImage()) {
    const text = `red brightens, blue darkens; full colour is ${figure(most)}`;
    return element("figure", {}, atomPicture(detail, binary), element("figcaption", {}, text));
  }
  const bytes = part(binary, [start, length]);
  const values = Array.from(new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length), (v) => (v * most) / 127);
  const chart = profile([{ values }], latents, size);
  return latents.standard ? element("figure", {}, chart, element("figcaption", {}, STANDARD)) : chart;
}

const STANDARD = "each column in its standard deviations";

function traversalOf(detail, binary) {
  const caption = element("figcaption", {}, "decoded at even steps over its range (0.5 to 99.5 %), all other latents at their mean");
  if (!isImage() && !latents.names.length && latents.standard) caption.append(`; ${STANDARD}`);
  return element("div", {}, traversalStrip(detail, binary), caption);
}

// Every so many steps are drawn where they are lines over one another.
function traversalStrip(detail, binary, every = 1, size = { width: 620, height: 220 }) {
  const [start, length, values] = detail.traversal;
  const bytes = part(binary, [start, length]);
  const long = length / latents.steps;
  const parts = values.map((_, i) => bytes.slice(i * long, (i + 1) * long));
  if (isImage()) {
    const figures = parts.map((picture, i) =>
      element("figure", {}, image(picture, latents), element("figcaption", {}, figure(values[i], 2))),
    );
    return element("div", { class: "strip frames" }, figures);
  }
  const rows = parts.map(floats);
  if (latents.names.length) {
    const shown = [0, Math.floor(rows.length / 2), rows.length - 1];
    const heads = shown.map((i) => `at ${figure(values[i], 2)}`);
    return namedTable(shown.map((i) => rows[i]), latents.names, heads);
  }
  const lines = rows.map((row, i) => ({ values: row, kind: `step-${i}` })).filter((_, i) => i % every === 0);
  return profile(lines, latents, size);
}

function inputsOf(detail) {
  const titles = { strong: "Inputs on which it is strongest", across: "Inputs over all ranks, strongest first", weak: "Inputs on which it is lowest" };
  return Object.entries(titles).map(([name, title]) => {
    if (!detail[name]) return null;
    return section(title, latents.kind === "none" ? rowsOf(detail[name]) : inputStrip(detail[name]));
  });
}

function rowsOf(pairs) {
  return element("p", {}, pairs.map(([row, value]) => `row ${row} (${figure(value)})`).join(", "));
}

function inputStrip(pairs) {
  const strip = element("div", { class: "strip" });
  Promise.all(pairs.map(([row]) => pooled(row))).then(
    (rows) => strip.append(...inputNodes(rows, pairs)),
    (problem) => strip.append(element("p", { class: "note" }, plain(problem.message))),
  );
  return strip;
}

function inputNodes(rows, pairs) {
  const caption = (i) => `${figure(pairs[i][1], 2)}`;
  if (latents.behind) {
    return rows.map((row, i) => {
      const [number, , place] = pairs[i];
      const lit = patchAt(place, latents.behind);
      const title = `image ${number}, ${lit ? "patch" : "token"} ${place - (lit ? latents.behind.leading : 0)}`;
      return element("figure", { title }, image(row, latents.behind, 0, lit), element("figcaption", {}, caption(i)));
    });
  }
  if (isImage()) {
    return rows.map((row, i) =>
      element("figure", { title: `row ${pairs[i][0]}` }, image(row, latents), element("figcaption", {}, caption(i))),
    );
  }
  if (latents.names.length) {
    return [namedTable(rows.map(floats), latents.names, pairs.map((_, i) => caption(i)))];
  }
  return rows.map((row, i) =>
    element(
      "figure",
      { title: `row ${pairs[i][0]}` },
      profile([{ values: floats(row) }], latents, { width: 300, height: 110 }),
      element("figcaption", {}, caption(i)),
    ),
  );
}
