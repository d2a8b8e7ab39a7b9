// What the page opens with: inputs and what is rebuilt, samples, latents, anomalous rows.

function lookOf(look) {
  const box = element("div", {});
  if (look.about) box.append(element("p", { class: "quiet" }, isolated(look.about)));
  const draw = { strips: stripsOf, curves: curvesLook, texts: textsLook, table: ordinaryRows, anomalies: anomalousRows, moves: movesOf, latents: featuredOf }[look.kind];
  box.append(draw(look));
  return card(look.title, box, "broad");
}

// The examples of each strip, as bytes; drawn as soon as their block is unpacked.
function withPictures(look, box, draw) {
  blockNamed("pictures").then(
    ({ binary }) =>
      draw(
        look.strips.map(({ place, ...about }) => {
          const bytes = part(binary, place);
          const size = bytes.length / look.count;
          return { ...about, rows: Array.from({ length: look.count }, (_, i) => bytes.slice(i * size, (i + 1) * size)) };
        }),
      ),
    (problem) => box.append(element("p", { class: "note" }, plain(problem.message))),
  );
  return box;
}

// Each example as a column: the input, what is rebuilt of it, where they differ.
function stripsOf(look) {
  const grid = element("div", { class: "strip" });
  const box = element("div", {}, grid);
  if (look.strips.length > 1) {
    const names = look.strips.map(({ name }) => name).join(", ");
    box.append(element("p", { class: "quiet" }, `from top to bottom: ${names}${look.captions.length ? ", number of the row" : ""}`));
  }
  return withPictures(look, box, (strips) => {
    for (let i = 0; i < look.count; i++) {
      const pictures = strips.map(({ name, rows, signed }) => {
        const drawn = signed ? change(rows[i], look.setting) : image(rows[i], look.setting);
        drawn.title = name;
        return drawn;
      });
      grid.append(element("figure", { class: "stack" }, pictures, captionOf(look, i)));
    }
  });
}

function captionOf(look, i) {
  return look.captions[i] ? element("figcaption", {}, plain(look.captions[i])) : null;
}

function curvesLook(look) {
  const grid = element("div", { class: "charts" });
  const box = element("div", {});
  if (look.strips.length > 1) {
    box.append(element("p", {}, look.strips.map(({ name }, i) => element("span", { class: `key line-${i}` }, name))));
  }
  box.append(grid);
  return withPictures(look, box, (strips) => {
    for (let i = 0; i < look.count; i++) {
      const lines = strips.map(({ rows }, k) => ({ values: floats(rows[i]), kind: `line-${k}` }));
      grid.append(element("figure", {}, profile(lines, look.setting, { width: 340, height: 150 }), captionOf(look, i)));
    }
  });
}

function textsLook({ heads, rows }) {
  const head = heads ? element("thead", {}, element("tr", {}, heads.map((h) => element("th", {}, h)))) : null;
  const body = rows.map((row) =>
    element("tr", {}, row.map((text) => element("td", { class: "line-of-text-cell" }, isolated(clipped(text, 600))))),
  );
  return element("div", { class: "wide" }, element("table", {}, head, element("tbody", {}, body)));
}

// --- tables -----------------------------------------------------------------------------------

const cellText = (value) => (value === null ? "–" : typeof value === "number" ? figure(value, 4) : value);

function valueCell(value, extra) {
  return element("td", { class: `number ${extra || ""}` }, isolated(clipped(cellText(value), 28), { title: plain(cellText(value)) }));
}

// Whether what is rebuilt is another value, or a number that is a tenth or more off.
function isOff(value, rebuilt) {
  if (typeof value !== "number" || typeof rebuilt !== "number") return value !== rebuilt;
  return Math.abs(value - rebuilt) > 0.1 * Math.max(Math.abs(value), 1e-12);
}

function ordinaryRows({ columns, rows }) {
  const top = element("tr", {}, element("th", {}, ""), rows.map(({ row }) => element("th", { colspan: 2, class: "number pair" }, `row ${row}`)));
  const second = element(
    "tr",
    {},
    element("th", {}, "column"),
    rows.flatMap(() => [element("th", { class: "number pair" }, "value"), element("th", { class: "number" }, "rebuilt")]),
  );
  const body = columns.map((name, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, isolated(name)),
      rows.flatMap(({ values, rebuilt }) => [valueCell(values[i], "pair"), valueCell(rebuilt[i], isOff(values[i], rebuilt[i]) ? "off" : "")]),
    ),
  );
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, top, second), element("tbody", {}, body)));
}

function barOf(share) {
  const box = element("span", { class: "bar-box" }, element("span", { class: "fill" }));
  box.firstChild.style.width = `${100 * Math.min(1, share || 0)}%`;
  return box;
}

function anomalousRows(look) {
  const { rows, shares, scores, least, of } = look;
  const list = element("ul", { class: "shares" });
  const most = Math.max(...shares.map(([, share]) => share || 0)) || 1;
  for (const [name, share] of shares) {
    list.append(element("li", {}, isolated(clipped(name, 40), { class: "name" }), barOf(share / most), element("span", { class: "quiet" }, percent(share))));
  }
  const width = (scores.high - scores.low) / scores.counts.length;
  const flagged = (k) => scores.limit !== null && scores.low + (k + 0.5) * width < scores.limit;
  const chart = barChart(scores.counts, {
    low: scores.low,
    high: scores.high,
    width: 460,
    height: 190,
    kind: (k) => (flagged(k) ? "dense" : ""),
    say: (k) => `${figure(scores.low + k * width)} to ${figure(scores.low + (k + 1) * width)}: ${scores.counts[k]} rows`,
  });
  const limit =
    scores.limit === null
      ? "scores of the rows looked at"
      : `scores of the rows looked at; ${figure(scores.below)} of ${figure(of)} (orange) lie below ${figure(scores.limit)}, as 5 % of the training rows do`;
  const cards = rows.map(({ row, score, cells }) =>
    element(
      "section",
      { class: "anomaly" },
      element("h3", {}, element("b", {}, `row ${row}`), ` scores ${figure(score, 4)}`),
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ["column", "value", "rebuilt", "drives"].map((h, i) => element("th", { class: i % 3 ? "number" : null }, h)))),
        element(
          "tbody",
          {},
          cells.map(([name, value, rebuilt, share]) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, isolated(clipped(name, 28), { title: plain(name) })),
              valueCell(value),
              valueCell(rebuilt),
              element("td", { class: "drives", title: percent(share) }, barOf(share)),
            ),
          ),
        ),
      ),
    ),
  );
  return element(
    "div",
    {},
    element(
      "div",
      { class: "halves" },
      element("figure", {}, element("figcaption", {}, `columns that drive the scores of the ${figure(least)} rows that fit least`), list),
      element("figure", {}, element("figcaption", {}, limit), chart),
    ),
    element("div", { class: "anomalies" }, cards),
  );
}

function movesOf({ latents: moved }) {
  const cards = moved.map(({ place, at, cells }) =>
    element(
      "section",
      { class: "anomaly" },
      latentHead(place),
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, element("th", {}, "column"), at.map((v) => element("th", { class: "number" }, `at ${figure(v, 2)}`)))),
        element(
          "tbody",
          {},
          cells.map(([name, ...values]) =>
            element("tr", {}, element("th", { scope: "row" }, isolated(clipped(name, 28), { title: plain(name) })), values.map((v) => valueCell(v))),
          ),
        ),
      ),
    ),
  );
  return element("div", { class: "anomalies" }, cards);
}

// --- latents ----------------------------------------------------------------------------------

function featuredOf({ places }) {
  const grid = element("div", { class: latents.kind === "text" ? "featured wide-cards" : "featured" });
  for (const place of places) {
    const box = element("section", { class: "feature" }, latentHead(place));
    grid.append(box);
    detailOf(place).then(
      ({ detail, binary }) => box.append(...inBrief(detail, binary).filter(Boolean)),
      (problem) => box.append(element("p", { class: "note" }, plain(problem.message))),
    );
  }
  return grid;
}

function latentHead(place) {
  const id = latents.ids[place];
  const label = labelOf(place);
  return element(
    "h3",
    {},
    element("a", { href: `#latent=${id}` }, `latent ${id}`),
    label ? isolated(` ${clipped(label, 90)}`, { class: "hint-label" }) : null,
    element("span", { class: "quiet" }, briefly(place)),
  );
}

// Its first figures: how interesting, how often; or how much it tells.
function briefly(place) {
  const wanted = latents.rates ? ["interest", "rate"] : [latents.order];
  const shown = latents.columns.filter(({ key, values }) => wanted.includes(key) && !Number.isNaN(values[place]));
  return ` · ${shown.map((c) => `${c.title} ${inForm(c.values[place], c.form)}`).join(" · ")}`;
}

function inBrief(detail, binary) {
  if (latents.kind === "text") return [textInBrief(detail, binary)];
  if (detail.traversal) return [traversalStrip(detail, binary, 2, { width: 540, height: 170 })];
  const strongest = detail.strong ? inputStrip(detail.strong.slice(0, isImage() || latents.behind ? 7 : 2)) : null;
  if (detail.atom && isImage()) return [element("div", { class: "atom-and-inputs" }, atomPicture(detail, binary, 84), strongest)];
  return [detail.atom ? atomOf(detail, binary, { width: 340, height: 130 }) : null, latents.names && latents.names.length ? null : strongest];
}

function textInBrief(detail, binary) {
  const { examples } = detail;
  const tokens = tokensIn(examples, binary);
  const shares = new Int8Array(binary.buffer, examples.at[1], tokens.length);
  const shown = [];
  let at = 0;
  for (let k = 0; k < examples.length.length && shown.length < 4; k++) {
    const own = [at, (at += examples.length[k])];
    if (examples.group[k] === 0) shown.push(exampleOf(examples, k, tokens.subarray(...own), shares.subarray(...own)));
  }
  return element("div", { class: "examples clipped" }, shown);
}
