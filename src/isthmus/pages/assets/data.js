// What the page shows: the run, the words of its texts, and its latents.

const run = parsed("run");
const words = parsed("words");
const latents = parsed("latents");

if (latents) {
  latents.ids = arrayOf(latents.ids);
  latents.map = arrayOf(latents.map);
  latents.rates = arrayOf(latents.rates);
  for (const column of latents.columns) column.values = arrayOf(column.values);
  latents.count = latents.ids.length;
  latents.place = new Map(Array.from(latents.ids, (id, place) => [id, place]));
}

// What is shown of the latent at a place in the list.
async function detailOf(place) {
  const chunk = Math.floor(place / latents.chunk);
  const { value, binary } = await blockNamed(`chunk-${chunk}`);
  return { detail: value[place - chunk * latents.chunk], binary };
}

// One row of the data, in bytes as it is drawn.
async function pooled(row) {
  const { value, binary } = await blockNamed(`pool-${Math.floor(row / latents.pool)}`);
  return part(binary, value[String(row)]);
}

function labelOf(place) {
  return (latents.labels.length && latents.labels[place]) || "";
}

function tokensOf(place, most) {
  if (!latents.tokens.length) return "";
  return latents.tokens[place].slice(0, most).map((token) => plain(words[token])).join("  ");
}

function go(id, replace) {
  const hash = `#latent=${id}`;
  if (replace) location.replace(hash);
  else location.hash = hash;
}
