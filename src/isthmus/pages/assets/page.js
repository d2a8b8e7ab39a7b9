// The page: two views, chosen by what stands after # in the address.

const root = document.getElementById("page");
const views = { overview: buildOverview() };
const links = { overview: element("a", { href: "#overview" }, "Overview") };
let panel = null;

if (latents) {
  panel = element("aside", { class: "panel", tabindex: "-1" });
  const tools = buildSearch();
  views.latents = element("div", { class: "latents" }, element("div", { class: "list" }, tools, buildTable()), panel);
  links.latents = element("a", { href: "#latents" }, `Latents (${figure(latents.count)})`);
}

// What was fitted to what, and how long.
function inOneLine() {
  const facts = Object.fromEntries(run.about.facts);
  // Of a file or folder its name: its whole place stands below.
  const data = facts.data.split("/").filter(Boolean).pop() || facts.data;
  const rows = facts.rows ? `, ${facts.rows} rows` : "";
  return `${facts.recipe} on ${data}${rows}${facts.steps ? `, ${facts.steps} steps` : ""}`;
}

root.replaceChildren(
  element(
    "header",
    {},
    element("h1", {}, isolated(run.title)),
    element("span", { class: "quiet" }, isolated(inOneLine())),
    element("nav", {}, Object.values(links)),
    element("span", { class: "keys" }, latents ? "/ search · ↑ ↓ next latent · esc back" : ""),
  ),
  element("main", {}, Object.values(views)),
);

function turn() {
  const asked = /^#latent=(-?\d+)$/.exec(location.hash);
  const place = asked && latents ? latents.place.get(Number(asked[1])) : undefined;
  const name = latents && (asked || location.hash === "#latents") ? "latents" : "overview";
  for (const [key, view] of Object.entries(views)) {
    view.hidden = key !== name;
    if (key === name) links[key].setAttribute("aria-current", "page");
    else links[key].removeAttribute("aria-current");
  }
  if (name !== "latents") return;
  drawRows();
  // One latent is open from the start: the first of the table.
  const shown = asked || !table.rows.length ? place : table.selected >= 0 ? table.selected : table.rows[0];
  views.latents.classList.toggle("open", shown !== undefined);
  if (shown !== undefined) {
    choose(shown);
    showLatent(panel, shown);
  } else {
    const text = asked ? `There is no latent ${asked[1]}.` : "Choose a latent in the table.";
    panel.replaceChildren(element("p", { class: "quiet empty" }, text));
    choose(-1);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !latents) return;
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea, summary");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    if (views.latents.hidden) location.hash = "#latents";
    // The view is shown by the change of the address, which comes after this event.
    setTimeout(() => search.field.focus());
  } else if (event.key === "Escape") {
    if (event.target === search.field && search.field.value) {
      search.field.value = "";
      look();
    } else if (views.latents.hidden || event.target === search.field) {
      table.view.focus();
    } else {
      location.hash = "#overview";
    }
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !views.latents.hidden) {
    if (typing && event.target !== search.field) return;
    if (event.target.closest && event.target.closest(".panel") && event.target !== panel) return;
    event.preventDefault();
    if (event.target === search.field) table.view.focus();
    step(event.key === "ArrowDown" ? 1 : -1);
  }
});

window.addEventListener("hashchange", turn);
turn();
// When the page could be used, in milliseconds after it was asked for.
requestAnimationFrame(() => setTimeout(() => root.setAttribute("data-opened", Math.round(performance.now()))));
