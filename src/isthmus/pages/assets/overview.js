// The overview of the run.

function buildOverview() {
  const { about, measures, curves, firing, gallery, notes } = run;
  const page = element("div", { class: "overview" });
  if (about.recipe) {
    const { idea, paper, formula } = about.recipe;
    for (const [kind, text] of [["idea", idea], ["formula", formula], ["quiet", paper]]) {
      if (text) page.append(element("p", { class: kind }, plain(text)));
    }
  }
  const facts = element("dl", { class: "facts" });
  for (const [name, value] of about.facts) {
    facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, isolated(value))));
  }
  page.append(facts);
  if (notes.length) {
    page.append(element("ul", { class: "notes" }, notes.map((note) => element("li", {}, isolated(note)))));
  }
  const parts = [
    part_("Measures", measuresOf(measures), "broad"),
    curves.length ? part_("Training", curvesOf(curves), "broad") : null,
    firing ? part_("How often latents fire", firingOf(firing)) : null,
    unitsPart(),
    latents && latents.map ? part_("Map of decoder directions", mapPart()) : null,
    gallery ? part_("Inputs and reconstructions", galleryOf(gallery), "broad") : null,
    part_("Options", optionsOf(about.options), "broad"),
  ];
  page.append(element("div", { class: "cards" }, parts.filter(Boolean)));
  return page;
}

function part_(title, content, kind) {
  return element("section", { class: `card ${kind || ""}` }, element("h2", {}, title), content);
}

function measuresOf({ source, rows }) {
  const box = element("div", {}, element("p", { class: "quiet" }, isolated(source)));
  if (!rows.length) return box;
  const withN = rows.some((row) => row.n !== null);
  const heads = withN ? ["measure", "", "value", "95 % interval", "unit", "n", "how"] : ["measure", "value"];
  const head = element("tr", {}, heads.map((h) => element("th", { class: ["value", "95 % interval", "n"].includes(h) ? "number" : null }, h)));
  const lines = rows.map((row) => {
    const name = element("th", { scope: "row" }, isolated(row.name.replaceAll("_", " ")));
    const value = element("td", { class: "number" }, figure(row.value, 4));
    if (!withN) return element("tr", {}, name, value);
    const known = row.low !== null && row.low !== undefined;
    return element(
      "tr",
      {},
      name,
      element("td", { title: row.arrow === "↑" ? "higher is better" : row.arrow === "↓" ? "lower is better" : "" }, row.arrow),
      value,
      element("td", { class: "number" }, known ? `${figure(row.low, 4)} to ${figure(row.high, 4)}` : ""),
      element("td", {}, plain(row.unit)),
      element("td", { class: "number" }, figure(row.n)),
      element("td", { class: "quiet how" }, isolated(row.note ? `${row.estimator}. ${row.note}` : row.estimator)),
    );
  });
  box.append(element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, lines))));
  return box;
}

function curvesOf(curves) {
  const grid = element("div", { class: "charts" });
  for (const { title, lines } of curves) {
    const values = lines.flatMap((line) => line.y).filter((v) => v !== null);
    // A log scale shows what a linear one hides as soon as values differ tenfold.
    const logY = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...values);
    const chart = lineChart(lines, { logY });
    const legend = lines.map((line, i) => element("span", { class: `key line-${i}` }, line.name));
    const text = element("figcaption", {}, isolated(title.replaceAll("_", " ")), lines.length > 1 ? legend : null, logY ? " (log scale)" : null);
    grid.append(element("figure", {}, text, chart));
  }
  return grid;
}

function firingOf(firing) {
  const { edges, counts, dead, dense, latents: total, of, dense_rate } = firing;
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const name = (v) => (Number.isInteger(v) ? (v === 0 ? "100 %" : percent(10 ** v)) : "");
  const say = (i) => `${percent(10 ** edges[i])} to ${percent(10 ** edges[i + 1])} of ${of}: ${counts[i]} latents`;
  const kind = (i) => (10 ** edges[i] >= dense_rate * 0.999 ? "dense" : "");
  const chart = barChart(counts, { low, high, labelOfX: name, say, kind, width: 460, height: 240, wanted: Math.min(6, high - low) });
  const count = (n, what, about) => element("span", { class: "count", title: about }, element("b", {}, figure(n)), ` ${what}`);
  return element(
    "div",
    {},
    element(
      "p",
      { class: "counts" },
      count(total, "latents", ""),
      count(dead, `dead (${percent(dead / total)})`, `fired on none of the ${of} looked at`),
      count(dense, `dense (${percent(dense / total)})`, `fire on more than ${percent(dense_rate)} of the ${of}`),
    ),
    chart,
    element("p", { class: "quiet" }, `latents by the share of ${of} on which they fire, on a log scale; the dead are not drawn`),
  );
}

// For a code whose latents are all active or not: each latent's share, sorted.
function unitsPart() {
  if (!latents || latents.rates) return null;
  const order = latents.columns.find((c) => c.key === latents.order);
  const places = Array.from({ length: latents.count }, (_, i) => i)
    .sort((a, b) => order.values[b] - order.values[a])
    .slice(0, 400);
  const active = latents.columns.find((c) => c.key === "active");
  const chart = barChart(
    places.map((i) => order.values[i]),
    {
      width: 460,
      height: 240,
      low: 0,
      high: places.length,
      labelOfX: figure,
      say: (k) => `latent ${latents.ids[places[k]]}: ${figure(order.values[places[k]])}`,
      press: (k) => go(latents.ids[places[k]]),
      kind: (k) => (active && !active.values[places[k]] ? "inactive" : ""),
    },
  );
  const number = active ? Array.from(active.values).filter((v) => v === 1).length : null;
  const head = active
    ? element("p", { class: "counts" }, element("span", { class: "count" }, element("b", {}, figure(number)), ` of ${latents.count} units are active`))
    : null;
  const more = latents.count > 400 ? ` (the 400 largest of ${figure(latents.count)})` : "";
  const text = `${order.title} of each latent, ${order.about}, largest first${more}`;
  return part_(active ? "Active units" : "Latents", element("div", {}, head, chart, element("p", { class: "quiet" }, text)));
}

function mapPart() {
  const order = latents.columns.find((c) => c.key === latents.order);
  const key = latents.rates ? "firing rate" : order.title;
  const legend = element("span", { class: "scale" }, [1, 2, 3, 4].map((i) => element("i", { class: `heat-${i}` })));
  return element(
    "div",
    {},
    drawMap(),
    element("p", { class: "quiet" }, `${latents.map_about}; colour is the quartile of ${key}, low `, legend, " high", latents.rates ? ", grey are dead" : "", "; shift and wheel come closer"),
  );
}

function galleryOf(setting) {
  const box = element("div", {});
  blockNamed("gallery").then(
    ({ binary }) => {
      const rows = Object.entries(setting.strips).map(([name, place]) => {
        const bytes = part(binary, place);
        const size = bytes.length / setting.count;
        return [name, Array.from({ length: setting.count }, (_, i) => bytes.slice(i * size, (i + 1) * size))];
      });
      if (setting.kind === "image") {
        for (const [name, pictures] of rows) {
          box.append(element("p", { class: "quiet strip-name" }, name));
          box.append(element("div", { class: "strip" }, pictures.map((picture) => image(picture, setting))));
        }
        return;
      }
      const [[, inputs], [, rebuilt]] = rows;
      const charts = inputs.map((input, i) =>
        profile([{ values: floats(input) }, { values: floats(rebuilt[i]) }], setting, { width: 340, height: 150 }),
      );
      const legend = ["input", "rebuilt"].map((name, i) => element("span", { class: `key line-${i}` }, name));
      const note = setting.standard && !setting.names.length ? element("span", { class: "quiet" }, "  each column in its standard deviations") : null;
      box.append(element("p", {}, legend, note), element("div", { class: "charts" }, charts));
    },
    (problem) => box.append(element("p", { class: "note" }, plain(problem.message))),
  );
  return box;
}

function optionsOf(options) {
  const lines = options.map(({ name, value, default: usual, about }) => {
    const changed = usual !== "" && value !== usual;
    return element(
      "tr",
      { class: changed ? "changed" : null },
      element("th", { scope: "row" }, name),
      element("td", {}, isolated(value)),
      element("td", { class: "quiet" }, changed ? isolated(usual) : ""),
      element("td", { class: "quiet" }, isolated(about)),
    );
  });
  const changed = lines.filter((line) => line.classList.contains("changed")).length;
  const head = element("tr", {}, ["option", "value", "default", "meaning"].map((h) => element("th", {}, h)));
  return element(
    "details",
    {},
    element("summary", {}, `${lines.length} options, ${changed} not at their default`),
    element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, lines))),
  );
}
