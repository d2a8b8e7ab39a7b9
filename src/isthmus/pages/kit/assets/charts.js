// Small charts in SVG. Their colours come from the style sheet, so that they follow the theme.

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const svgText = (text, attributes) => svg("text", attributes, plain(text));

// Round values that divide a range in about `wanted` parts.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

// A scale from values to pixels, logarithmic where asked for.
function scaleOf(values, start, stop, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    const v = log ? Math.log10(value) : value;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (!(low <= high)) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)];
  const at = (value) => start + (((log ? Math.log10(value) : value) - low) / (high - low)) * (stop - start);
  at.back = (pixel) => {
    const v = low + ((pixel - start) / (stop - start)) * (high - low);
    return log ? 10 ** v : v;
  };
  at.ticks = (wanted) => {
    if (!log) return ticks(low, high, wanted);
    const whole = ticks(low, high, wanted).filter((v) => Number.isInteger(v)).map((v) => 10 ** v);
    if (whole.length > 1) return whole;
    const found = [];
    for (let p = Math.floor(low); p <= high; p++) {
      for (const m of [1, 2, 5]) {
        const v = m * 10 ** p;
        if (Math.log10(v) >= low && Math.log10(v) <= high) found.push(v);
      }
    }
    return found.length > 1 ? found : [10 ** low, 10 ** high].map((v) => Number(v.toPrecision(3)));
  };
  return at;
}

// Lines {x, y, kind, name} in one chart, with the values under the pointer.
function lineChart(lines, options) {
  const { width = 340, height = 170, logX, logY, labelOfX = (x) => figure(x), points } = options;
  const box = { left: 52, right: width - 10, top: 10, bottom: height - 24 };
  const clean = (values, log) => values.filter((v) => v !== null && (!log || v > 0));
  const x = scaleOf(lines.flatMap((l) => clean(l.x, logX)), box.left, box.right, logX);
  const y = scaleOf(lines.flatMap((l) => clean(Array.from(l.y), logY)), box.bottom, box.top, logY);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart", role: "img" });
  for (const tick of y.ticks(4)) {
    const at = y(tick);
    chart.append(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "grid" }));
    chart.append(svgText(figure(tick), { x: box.left - 6, y: at + 4, "text-anchor": "end" }));
  }
  let free = -Infinity;
  for (const tick of x.ticks(4)) {
    const label = labelOfX(tick);
    const at = Math.min(x(tick), box.right - 3 * label.length);
    if (at - 3.5 * label.length < free) continue;
    free = at + 3.5 * label.length + 6;
    chart.append(svgText(label, { x: at, y: height - 8, "text-anchor": "middle" }));
  }
  lines.forEach((line, number) => {
    let path = "";
    let drawing = false;
    for (let i = 0; i < line.x.length; i++) {
      const fits = line.y[i] !== null && Number.isFinite(line.y[i]);
      if (!fits || (logX && line.x[i] <= 0) || (logY && line.y[i] <= 0)) {
        drawing = false;
        continue;
      }
      path += `${drawing ? "L" : "M"}${x(line.x[i]).toFixed(1)} ${y(line.y[i]).toFixed(1)}`;
      drawing = true;
      if (points) {
        const spot = { cx: x(line.x[i]), cy: y(line.y[i]), r: 2, class: `spot ${line.kind || `line-${number}`}` };
        chart.append(svg("circle", spot));
      }
    }
    chart.append(svg("path", { d: path, class: `line ${line.kind || `line-${number}`}` }));
  });
  follow(chart, lines, { x, y, box, labelOfX });
  return chart;
}

// A vertical line and the values where the pointer is.
function follow(chart, lines, { x, y, box, labelOfX }) {
  const rule = svg("line", { y1: box.top, y2: box.bottom, class: "rule", visibility: "hidden" });
  const text = svg("text", { y: box.top + 2, class: "reading" });
  chart.append(rule, text);
  chart.addEventListener("pointermove", (event) => {
    const shape = chart.getBoundingClientRect();
    const pixel = ((event.clientX - shape.left) / shape.width) * chart.viewBox.baseVal.width;
    const wanted = x.back(pixel);
    const first = lines[0];
    let best = 0;
    first.x.forEach((value, i) => {
      if (Math.abs(value - wanted) < Math.abs(first.x[best] - wanted)) best = i;
    });
    const at = x(first.x[best]);
    if (!Number.isFinite(at)) return;
    rule.setAttribute("x1", at);
    rule.setAttribute("x2", at);
    rule.setAttribute("visibility", "visible");
    const values = lines.slice(0, 3).map((line) => figure(line.y[best], 4));
    text.textContent = plain(`${labelOfX(first.x[best])}: ${values.join(", ")}`);
    const right = at > (box.left + box.right) / 2;
    text.setAttribute("x", right ? at - 5 : at + 5);
    text.setAttribute("text-anchor", right ? "end" : "start");
  });
  chart.addEventListener("pointerleave", () => {
    rule.setAttribute("visibility", "hidden");
    text.textContent = "";
  });
}

// Bars between edges. `say(i)` is their tooltip, `press(i)` what a click does.
function barChart(counts, options) {
  const { width = 340, height = 130, low = 0, high = counts.length, labelOfX = figure, logY, wanted = 4 } = options;
  const box = { left: 40, right: width - 10, top: 8, bottom: height - 22 };
  const most = Math.max(...counts, 0) || 1;
  const rise = (v) => (logY ? Math.log1p(v) / Math.log1p(most) : v / most);
  const y = (v) => box.bottom - rise(v) * (box.bottom - box.top);
  const step = (box.right - box.left) / counts.length;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "chart", role: "img" });
  for (const v of [0, most]) {
    chart.append(svg("line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "grid" }));
    chart.append(svgText(figure(v), { x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }));
  }
  counts.forEach((count, i) => {
    const shape = {
      x: box.left + i * step,
      y: y(Math.max(0, count)),
      width: Math.max(0.5, step - (step > 4 ? 1 : 0)),
      height: Math.max(0, box.bottom - y(Math.max(0, count))),
      class: `bar ${options.kind ? options.kind(i) : ""}`,
    };
    const bar = svg("rect", shape);
    if (options.say) bar.append(svg("title", {}, plain(options.say(i))));
    if (options.press) {
      bar.addEventListener("click", () => options.press(i));
      bar.classList.add("pressable");
    }
    chart.append(bar);
  });
  for (const tick of ticks(low, high, wanted)) {
    const at = box.left + ((tick - low) / (high - low)) * (box.right - box.left);
    chart.append(svgText(labelOfX(tick), { x: at, y: height - 7, "text-anchor": "middle" }));
  }
  return chart;
}
