// The table of latents. Only rows that can be seen are in the document.

const ROW = 30;
const SPARE = 8;

const table = {
  rows: null, // places of the latents that are listed, in order
  key: null,
  descending: true,
  selected: -1, // a place, or -1
  found: null, // places that a search found, or null
  filter: "all",
};

const DEAD = "dead";
const FILTERS = {
  all: () => true,
  alive: (i) => latents.rates[i] > 0,
  [DEAD]: (i) => latents.rates[i] === 0,
  dense: (i) => latents.rates[i] > run.firing.dense_rate,
  labelled: (i) => Boolean(latents.labels[i]),
};

function buildTable() {
  const { labels, tokens, columns } = latents;
  table.columns = [{ key: "id", title: "latent", about: "its number", kind: "id" }];
  if (latents.kind === "image" && latents.pictured) {
    table.columns.push({ key: "thumbnail", title: "adds", about: "what it adds to the reconstruction", kind: "thumbnail" });
  }
  if (labels.length) table.columns.push({ key: "label", title: "label", about: "its best scored label", kind: "label" });
  if (tokens.length) table.columns.push({ key: "tokens", title: "fires on", about: "tokens that it fires on most", kind: "tokens" });
  // What is the same for all latents (the norm of unit atoms) stands in the panel only.
  const differs = ({ key, values }) => {
    const far = (value) => !(Math.abs(value - values[0]) <= 1e-4 * Math.abs(values[0]));
    return key === latents.order || values.some(far);
  };
  for (const column of columns.filter(differs)) table.columns.push({ ...column, kind: "number" });
  table.key = latents.order;

  table.head = element("div", { role: "row", class: "row head" });
  for (const column of table.columns) {
    const press = () => sortBy(column);
    const button = element("button", { type: "button", title: column.about, onclick: press }, column.title);
    column.cell = element("div", { role: "columnheader", class: `cell ${column.kind}` }, button);
    table.head.append(column.cell);
  }
  table.body = element("div", { class: "rows", role: "rowgroup" });
  table.view = element(
    "div",
    { class: "grid", role: "grid", tabindex: "0", "aria-label": "latents", id: "table" },
    element("div", { role: "rowgroup", class: "heads" }, table.head),
    table.body,
  );
  const widths = table.columns.map(({ kind }) => {
    if (kind === "id") return "4.5rem";
    if (kind === "thumbnail") return "2.4rem";
    if (kind === "label") return "minmax(9rem, 3fr)";
    return kind === "tokens" ? "minmax(9rem, 3fr)" : "minmax(4rem, 4.8rem)";
  });
  table.view.style.setProperty("--columns", widths.join(" "));
  table.view.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
  table.view.addEventListener("keydown", tableKeys);
  new ResizeObserver(drawRows).observe(table.view);
  table.view.setAttribute("aria-colcount", table.columns.length);
  arrange();
  return table.view;
}

function sortBy(column) {
  if (column.kind === "thumbnail") return;
  if (table.key === column.key) table.descending = !table.descending;
  else [table.key, table.descending] = [column.key, column.kind === "number"];
  arrange();
}

// List the latents that the search and the filter leave, in the order chosen.
function arrange() {
  const keep = FILTERS[table.filter];
  const rows = [];
  const listed = table.found || Array.from({ length: latents.count }, (_, i) => i);
  for (const i of listed) if (keep(i)) rows.push(i);
  const column = table.columns.find((c) => c.key === table.key);
  const turn = table.descending ? -1 : 1;
  if (column.kind === "number") {
    const { values } = column;
    // What has no value comes last, either way.
    const rank = (i) => (Number.isNaN(values[i]) ? Infinity : turn * values[i]);
    const ranks = new Float64Array(latents.count);
    for (const i of rows) ranks[i] = rank(i);
    rows.sort((a, b) => (ranks[a] === ranks[b] ? a - b : ranks[a] - ranks[b]));
  } else if (column.kind === "id") {
    rows.sort((a, b) => turn * (latents.ids[a] - latents.ids[b]));
  } else {
    const texts = new Map(rows.map((i) => [i, column.kind === "label" ? labelOf(i) : tokensOf(i, 3)]));
    const order = new Intl.Collator("en").compare;
    rows.sort((a, b) => {
      const [one, two] = [texts.get(a), texts.get(b)];
      if (!one || !two) return Number(!one) - Number(!two) || a - b;
      return turn * order(one, two) || a - b;
    });
  }
  table.rows = rows;
  for (const c of table.columns) {
    const sorted = c.key === table.key ? (table.descending ? "descending" : "ascending") : "none";
    c.cell.setAttribute("aria-sort", sorted);
  }
  table.body.style.height = `${rows.length * ROW}px`;
  table.view.setAttribute("aria-rowcount", rows.length + 1);
  if (table.counted) table.counted();
  drawRows();
}

function drawRows() {
  const height = table.view.clientHeight || 600;
  const first = Math.max(0, Math.floor(table.view.scrollTop / ROW) - SPARE);
  const last = Math.min(table.rows.length, Math.ceil((table.view.scrollTop + height) / ROW) + SPARE);
  const seen = [];
  for (let r = first; r < last; r++) seen.push(rowOf(r));
  table.body.replaceChildren(...seen);
}

function rowOf(r) {
  const place = table.rows[r];
  const chosen = place === table.selected;
  const row = element("div", {
    role: "row",
    class: chosen ? "row chosen" : "row",
    id: `row-${place}`,
    "aria-rowindex": r + 2,
    "aria-selected": chosen ? "true" : "false",
    onclick: () => {
      go(latents.ids[place]);
      table.view.focus({ preventScroll: true });
    },
  });
  row.style.transform = `translateY(${r * ROW}px)`;
  for (const column of table.columns) row.append(cellOf(column, place));
  return row;
}

function cellOf(column, place) {
  const attributes = { role: "gridcell", class: `cell ${column.kind}` };
  if (column.kind === "number") return element("div", attributes, inForm(column.values[place], column.form));
  if (column.kind === "id") return element("div", attributes, String(latents.ids[place]));
  if (column.kind === "thumbnail") return element("div", attributes, thumbnail(place));
  if (column.kind === "label") return element("div", attributes, element("bdi", {}, plain(clipped(labelOf(place), 160))));
  const shown = latents.tokens[place].slice(0, 6).map((token) => element("bdi", { class: "token" }, plain(clipped(words[token], 40))));
  return element("div", attributes, shown);
}

// The direction of a latent, small, as soon as its block is unpacked.
const thumbnails = new Map();

function thumbnail(place) {
  if (!thumbnails.has(place)) {
    if (thumbnails.size > 1000) thumbnails.clear();
    const frame = element("div", { class: "thumb" });
    thumbnails.set(place, frame);
    detailOf(place).then(
      ({ detail, binary }) => {
        if (detail.atom) frame.append(change(part(binary, detail.atom), latents, 24 / Math.max(latents.height, latents.width)));
      },
      () => {}, // a page that was cut short says so where a latent is opened
    );
  }
  return thumbnails.get(place);
}

// Show a latent as chosen, and bring it into view; without the filter where that hides it.
function choose(place) {
  table.selected = place;
  let r = table.rows.indexOf(place);
  if (r < 0 && place >= 0) {
    drawRows();
    return;
  }
  const room = table.view.clientHeight - 2 * ROW;
  const top = r * ROW;
  if (top < table.view.scrollTop) table.view.scrollTop = top;
  else if (top > table.view.scrollTop + room) table.view.scrollTop = top - room;
  table.view.setAttribute("aria-activedescendant", `row-${place}`);
  drawRows();
}

// Move the choice by so many rows of the list.
function step(by) {
  if (!table.rows.length) return;
  const now = table.rows.indexOf(table.selected);
  const next = now < 0 ? (by > 0 ? 0 : table.rows.length - 1) : now + by;
  const place = table.rows[Math.max(0, Math.min(table.rows.length - 1, next))];
  if (place !== table.selected) go(latents.ids[place], true);
}

function tableKeys(event) {
  const page = Math.max(1, Math.floor(table.view.clientHeight / ROW) - 2);
  const moves = { PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const by = moves[event.key];
  if (Number.isFinite(by)) step(by);
  else if (table.rows.length) go(latents.ids[table.rows[by < 0 ? 0 : table.rows.length - 1]], true);
}
