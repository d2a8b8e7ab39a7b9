// Search in numbers, labels and tokens at once, and in the examples' text as it is unpacked.

const search = { turn: 0, texts: [], timer: 0 };

function buildSearch() {
  search.field = element("input", {
    type: "search",
    placeholder: latents.tokens.length ? "search labels, tokens, examples" : "search numbers and labels",
    "aria-label": "search",
    spellcheck: "false",
    autocomplete: "off",
  });
  search.field.addEventListener("input", () => {
    clearTimeout(search.timer);
    search.timer = setTimeout(look, 120);
  });
  search.state = element("span", { class: "quiet", role: "status" });
  const kinds = Object.keys(FILTERS).filter((kind) => {
    if (kind === "all") return true;
    return kind === "labelled" ? latents.labels.length > 0 : latents.rates !== null;
  });
  search.kinds = element(
    "select",
    { "aria-label": "which latents", onchange: () => ((table.filter = search.kinds.value), arrange()) },
    kinds.map((kind) => element("option", { value: kind }, kind)),
  );
  table.counted = () => {
    const all = table.rows.length === latents.count;
    const shown = all ? figure(latents.count) : `${figure(table.rows.length)} of ${figure(latents.count)}`;
    search.state.textContent = `${shown} latents${search.note || ""}`;
  };
  return element("div", { class: "tools" }, search.field, kinds.length > 1 ? search.kinds : null, search.state);
}

async function look() {
  const turn = ++search.turn;
  const wanted = search.field.value.toLowerCase();
  search.note = "";
  table.view.scrollTop = 0;
  if (!wanted.trim()) {
    table.found = null;
    arrange();
    return;
  }
  const hits = new Set();
  const alike = new Set();
  words.forEach((word, i) => {
    if (word.toLowerCase().includes(wanted)) alike.add(i);
  });
  for (let i = 0; i < latents.count; i++) {
    const label = labelOf(i);
    if (
      String(latents.ids[i]) === wanted.trim() ||
      (label && label.toLowerCase().includes(wanted)) ||
      (latents.tokens.length && latents.tokens[i].some((token) => alike.has(token)))
    ) {
      hits.add(i);
    }
  }
  const inExamples = latents.kind === "text";
  search.note = inExamples ? ", searching examples" : "";
  table.found = [...hits];
  arrange();
  if (!inExamples) return;
  const chunks = Math.ceil(latents.count / latents.chunk);
  let shown = performance.now();
  for (let chunk = 0; chunk < chunks; chunk++) {
    const texts = search.texts[chunk] || (search.texts[chunk] = await textsOf(chunk));
    if (turn !== search.turn) return;
    texts.forEach((text, i) => {
      if (text.includes(wanted)) hits.add(chunk * latents.chunk + i);
    });
    const last = chunk === chunks - 1;
    if (last || performance.now() - shown > 300) {
      search.note = last ? "" : `, searching examples (${Math.round((100 * chunk) / chunks)} %)`;
      table.found = [...hits];
      arrange();
      shown = performance.now();
    }
  }
}

// The text of all examples of each latent of a chunk. Blocks are opened past the cache of blocks.
async function textsOf(chunk) {
  const { value, binary } = await unpacked(`chunk-${chunk}`);
  const lower = (lowered ||= words.map((word) => word.toLowerCase()));
  return value.map(({ examples }) => {
    let text = "";
    let at = 0;
    const tokens = tokensIn(examples, binary);
    for (const length of examples.length) {
      for (const end = at + length; at < end; at++) text += lower[tokens[at]];
      text += "\n";
    }
    return text;
  });
}
let lowered = null;
