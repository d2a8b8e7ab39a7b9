// The overview of the run.

// Latents from which on a map of them says more than their list.
const MAPPED = 100;

function buildOverview() {
  const { about, looks, measures, curves, firing, notes } = run;
  const page = element("div", { class: "overview" });
  const told = notes.length ? element("ul", { class: "notes" }, notes.map((note) => element("li", {}, isolated(note)))) : null;
  // Where there is nothing to look at, the reader wants to know why.
  if (told && !looks.length) page.append(told);
  const mapped = latents && latents.map && latents.count >= MAPPED;
  const units = unitsPart();
  const parts = [
    ...looks.map(lookOf),
    curves.length ? card("Training", curvesOf(curves), "broad") : null,
    firing ? card("How often latents fire", firingOf(firing)) : units,
    mapped ? card("Map of decoder directions", mapPart()) : null,
    // Beside the chart before, where nothing else stands there.
    card("Measures", measuresOf(measures), mapped || !(firing || units) ? "broad" : ""),
    card("The run", runOf(about), "broad"),
    card("Options", optionsOf(about.options), "broad"),
    told && looks.length ? card("Notes", told, "broad") : null,
  ];
  page.append(element("div", { class: "cards" }, parts.filter(Boolean)));
  return page;
}

function card(title, content, kind) {
  return element("section", { class: `card ${kind || ""}` }, element("h2", {}, title), content);
}

function runOf(about) {
  const box = element("div", {});
  if (about.recipe) {
    const { idea, paper, formula } = about.recipe;
    for (const [kind, text] of [["idea", idea], ["formula", formula], ["quiet", paper]]) {
      if (text) box.append(element("p", { class: kind }, plain(text)));
    }
  }
  const facts = element("dl", { class: "facts" });
  for (const [name, value] of about.facts) {
    facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, isolated(value))));
  }
  box.append(facts);
  return box;
}

function measuresOf({ source, rows }) {
  const box = element("div", {}, element("p", { class: "quiet" }, isolated(source)));
  if (!rows.length) return box;
  const nameOf = (row) => row.name.replaceAll("_", " ");
  const measured = rows.some((row) => row.n !== null);
  // Where all were measured on the same rows, the sentence above says how many.
  const withN = measured && new Set(rows.map((row) => row.n)).size > 1;
  const heads = measured ? ["measure", "", "value", "95 % interval", "unit", ...(withN ? ["n"] : [])] : ["measure", "value"];
  const head = element("tr", {}, heads.map((h) => element("th", { class: ["value", "95 % interval", "n"].includes(h) ? "number" : null }, h)));
  const lines = rows.map((row) => {
    const name = element("th", { scope: "row" }, isolated(nameOf(row)));
    const value = element("td", { class: "number" }, figure(row.value, 4));
    if (!measured) return element("tr", {}, name, value);
    const known = row.low !== null && row.low !== undefined;
    return element(
      "tr",
      {},
      name,
      element("td", { title: row.arrow === "↑" ? "higher is better" : row.arrow === "↓" ? "lower is better" : "" }, row.arrow),
      value,
      element("td", { class: "number" }, known ? `${figure(row.low, 4)} to ${figure(row.high, 4)}` : ""),
      element("td", {}, plain(row.unit)),
      withN ? element("td", { class: "number" }, figure(row.n)) : null,
    );
  });
  box.append(element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, lines))));
  const said = rows.filter((row) => row.estimator || row.note);
  if (!said.length) return box;
  const list = element("dl", { class: "explained" });
  for (const row of said) {
    list.append(element("dt", {}, isolated(nameOf(row))));
    list.append(element("dd", {}, isolated([row.estimator, row.note].filter(Boolean).join(". "))));
  }
  box.append(element("details", {}, element("summary", {}, "what each of them is, and how it was measured"), list));
  return box;
}

function curvesOf(curves) {
  const grid = element("div", { class: "charts small" });
  const varies = ({ title, lines }) => title === "loss" || lines.some(({ y }) => y.some((v) => v !== y[0]));
  for (const { title, lines } of curves.filter(varies)) {
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
  if (!latents || latents.rates || latents.count < 2) return null;
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
  return card(active ? "Active units" : "Latents", element("div", {}, head, chart, element("p", { class: "quiet" }, text)));
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
