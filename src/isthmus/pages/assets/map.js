// The map of decoder directions: hover shows a latent, a click opens it; wheel and drag move it.

function drawMap() {
  const board = element("canvas", { class: "map", tabindex: "-1", "aria-label": "map of decoder directions" });
  const tip = element("div", { class: "tip", hidden: true });
  const shown = [];
  for (let i = 0; i < latents.count; i++) {
    if (Number.isFinite(latents.map[2 * i]) && Number.isFinite(latents.map[2 * i + 1])) shown.push(i);
  }
  const range = (axis) => {
    let low = Infinity;
    let high = -Infinity;
    for (const i of shown) {
      low = Math.min(low, latents.map[2 * i + axis]);
      high = Math.max(high, latents.map[2 * i + axis]);
    }
    return { middle: (low + high) / 2, span: high - low || 1 };
  };
  const [across, up] = [range(0), range(1)];
  const view = { x: across.middle, y: up.middle, zoom: 1 };
  let size = { width: 0, height: 0 };
  let pixels = new Float32Array(2 * shown.length);

  function place() {
    const scale = 0.92 * view.zoom * Math.min(size.width / across.span, size.height / up.span);
    shown.forEach((i, k) => {
      pixels[2 * k] = size.width / 2 + (latents.map[2 * i] - view.x) * scale;
      pixels[2 * k + 1] = size.height / 2 - (latents.map[2 * i + 1] - view.y) * scale;
    });
    return scale;
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1;
    const box = board.getBoundingClientRect();
    if (!box.width) return;
    size = { width: box.width, height: box.height };
    board.width = Math.round(size.width * ratio);
    board.height = Math.round(size.height * ratio);
    place();
    const context = board.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const colours = ["--map-dead", "--map-0", "--map-1", "--map-2", "--map-3"].map((n) => style.getPropertyValue(n));
    const radius = shown.length > 3000 ? 1.6 : shown.length > 300 ? 2.4 : 4;
    const classes = shown.map((i) => heat(i));
    for (let colour = 0; colour < colours.length; colour++) {
      context.fillStyle = colours[colour];
      context.beginPath();
      shown.forEach((_, k) => {
        if (classes[k] !== colour) return;
        context.moveTo(pixels[2 * k] + radius, pixels[2 * k + 1]);
        context.arc(pixels[2 * k], pixels[2 * k + 1], radius, 0, 7);
      });
      context.fill();
    }
  }

  function nearest(event) {
    const box = board.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1;
    let least = 14 * 14;
    for (let k = 0; k < shown.length; k++) {
      const distance = (pixels[2 * k] - x) ** 2 + (pixels[2 * k + 1] - y) ** 2;
      if (distance < least) [best, least] = [k, distance];
    }
    return best;
  }

  let from = null;
  board.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener("pointerup", () => setTimeout(() => (from = null)));
  board.addEventListener("pointermove", (event) => {
    if (from && event.buttons) {
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (from.moved || Math.hypot(dx, dy) > 4) {
        const scale = place();
        view.x -= dx / scale;
        view.y += dy / scale;
        from = { x: event.clientX, y: event.clientY, moved: true };
        paint();
      }
      return;
    }
    const k = nearest(event);
    tip.hidden = k < 0;
    board.classList.toggle("aimed", k >= 0);
    if (k < 0) return;
    tip.textContent = plain(summary(shown[k]));
    const room = size.width - pixels[2 * k];
    tip.style.left = room > 220 ? `${pixels[2 * k] + 10}px` : "auto";
    tip.style.right = room > 220 ? "auto" : `${room + 10}px`;
    tip.style.top = `${pixels[2 * k + 1] + 8}px`;
  });
  board.addEventListener("pointerleave", () => (tip.hidden = true));
  board.addEventListener("click", (event) => {
    const k = nearest(event);
    if (k >= 0 && !(from && from.moved)) go(latents.ids[shown[k]]);
  });
  board.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300));
    },
    { passive: false },
  );
  const zoom = (times) => {
    view.zoom = Math.max(0.5, Math.min(200, view.zoom * times));
    paint();
  };
  const reset = () => {
    Object.assign(view, { x: across.middle, y: up.middle, zoom: 1 });
    paint();
  };
  const buttons = element(
    "div",
    { class: "zoom" },
    element("button", { type: "button", "aria-label": "closer", onclick: () => zoom(1.5) }, "+"),
    element("button", { type: "button", "aria-label": "farther", onclick: () => zoom(1 / 1.5) }, "−"),
    element("button", { type: "button", onclick: reset }, "all"),
  );
  new ResizeObserver(paint).observe(board);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  return element("div", { class: "map-frame" }, board, tip, buttons);
}

// Which of five colours a latent has: dead, then by its rate, or by its rank in the table's order.
const heatOf = latents ? latents.rates || latents.columns.find((c) => c.key === latents.order).values : null;
const heatLog = Boolean(latents && latents.rates);
let heatEdges = null;

function heat(i) {
  if (!heatEdges) {
    const sorted = Array.from(heatOf).filter((v) => v > 0 || !heatLog).sort((a, b) => a - b);
    heatEdges = [0.25, 0.5, 0.75].map((q) => sorted[Math.floor(q * (sorted.length - 1))] ?? 0);
  }
  const value = heatOf[i];
  if (heatLog && !(value > 0)) return 0;
  return 1 + heatEdges.filter((edge) => value > edge).length;
}

function summary(place) {
  const label = labelOf(place) || tokensOf(place, 4);
  const order = latents.columns.find((c) => c.key === latents.order);
  const parts = [`latent ${latents.ids[place]}`];
  if (label) parts.push(clipped(label, 80));
  parts.push(`${order.title} ${inForm(order.values[place], order.form)}`);
  return parts.join(" · ");
}
