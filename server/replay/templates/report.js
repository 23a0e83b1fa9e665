"use strict";
// Language and theme, and a chart for each zone: net inflow above, one point's envelope below.

const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const short = () => (root.lang === "en" ? "en" : "zh");
const zoned = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), data.timezone);
const OUTCOMES = { found: "--found", late: "--late", missed: "--missed", false: "--false", repeat: "--found" };
const CLOSE_S = 5;
const charts = [];

root.lang = (navigator.language || "en").startsWith("zh") ? "zh-CN" : "en";
root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
document.getElementById("language").onclick = () => {
  root.lang = root.lang === "en" ? "zh-CN" : "en";
  for (const chart of charts) chart.label();
  draw();
};
document.getElementById("theme").onclick = () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  draw();
};
document.getElementById("print").onclick = () => window.print();
let themeBefore = null; // paper is light
addEventListener("beforeprint", () => {
  themeBefore = root.dataset.theme;
  root.dataset.theme = "light";
  draw();
});
addEventListener("afterprint", () => {
  root.dataset.theme = themeBefore;
  draw();
});

function make(tag, parent, name) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  parent.append(element);
  return element;
}

class Chart {
  constructor(zone, parent) {
    this.zone = zone;
    const box = make("div", parent, "chart");
    this.head = make("h3", box);
    this.name = make("span", this.head);
    this.select = make("select", this.head);
    this.unit = make("span", this.head, "u");
    this.plot = make("div", box, "plot");
    if (zone.inflow.length) make("option", this.select).value = "inflow";
    for (const point of zone.points) make("option", this.select).value = point.id;
    this.select.onchange = () => this.draw();
    this.label();
  }

  label() {
    this.name.textContent = this.zone.name[short()];
    for (const option of this.select.options) {
      const point = this.zone.points.find((p) => p.id === option.value);
      option.textContent = point ? named(point) : data.words.inflow[short()];
    }
  }

  series() {
    const point = this.zone.points.find((p) => p.id === this.select.value);
    const low = point ? point.low : this.zone.inflow;
    const high = point ? point.high : this.zone.inflow;
    return { quantity: point ? point.quantity : "flow", low, high, isOne: !point };
  }

  draw() {
    const { quantity, low, high, isOne } = this.series();
    const { unit, factor, decimals } = data.units[short()][quantity];
    const scaled = (values) => values.map((v) => (v === null ? null : v * factor));
    const at = low.map((_, n) => (data.begin + (n + 0.5) * data.width) / 1e3);
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false }, font: "12px system-ui" };
    const line = colour("--accent");
    const stroke = { stroke: line, width: isOne ? 1.2 : 0.6, points: { show: false } };
    this.unit.textContent = unit;
    this.view?.destroy();
    this.view = new uPlot({
      width: this.plot.clientWidth, height: 205, tzDate: zoned,
      cursor: { drag: { x: true, y: false }, sync: { key: "replay" }, points: { size: 5 } },
      scales: { x: { time: true }, y: { range: (u, a, b) => padded(a, b) } },
      axes: [{ ...axis, size: 28, space: 84, values: dated }, { ...axis, size: 60, values: (u, ticks) => ticks.map((v) => plain(v, ticks, decimals)) }],
      series: [{}, { ...stroke }, { ...stroke }],
      bands: isOne ? [] : [{ series: [2, 1], fill: `${line}55` }],
      hooks: { drawClear: [(u) => this.bars(u)], draw: [(u) => this.marks(u)] },
    }, [at, scaled(low), scaled(high)], this.plot);
    if (shown) this.view.setScale("x", shown);
  }

  bars(u) {
    const { ctx, bbox } = u;
    const mine = data.bars.filter((b) => b.zone === this.zone.id);
    ctx.save();
    ctx.globalAlpha = 0.07;
    for (const bar of mine) {
      const left = Math.max(bbox.left, u.valToPos(bar.from / 1e3, "x", true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(bar.to / 1e3, "x", true));
      if (right <= left) continue;
      ctx.fillStyle = colour(OUTCOMES[bar.outcome] ?? "--other");
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
      ctx.globalAlpha = 0.9; // its onset, on the ground
      ctx.fillRect(left, bbox.top + bbox.height - 5 * devicePixelRatio, 3 * devicePixelRatio, 5 * devicePixelRatio);
      ctx.globalAlpha = 0.07;
    }
    ctx.restore();
  }

  marks(u) {
    const { ctx, bbox } = u;
    const mine = data.marks.filter((m) => m.zone === this.zone.id);
    const seen = mine.filter((m) => m.at / 1e3 >= u.scales.x.min && m.at / 1e3 <= u.scales.x.max);
    let free = -Infinity; // where the next label has room
    ctx.save();
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    for (const mark of seen) {
      const x = u.valToPos(mark.at / 1e3, "x", true);
      ctx.strokeStyle = ctx.fillStyle = colour(OUTCOMES[mark.outcome] ?? "--other");
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.setLineDash([5 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(mark.id).width;
      const isRight = x + width + 8 > bbox.left + bbox.width;
      if (x - (isRight ? width + 8 : 0) < free) continue;
      free = x + (isRight ? 4 : width + 10);
      ctx.textAlign = isRight ? "right" : "left";
      ctx.fillText(mark.id, x + (isRight ? -4 : 4), bbox.top + 11 * devicePixelRatio);
    }
    ctx.restore();
  }
}

let shown = null;

// Two points may have one name in the registry: the id tells them apart.
const named = (point) =>
  point.name[short()] === point.id ? point.id : `${point.name[short()]} · ${point.id}`;

const plain = (value, ticks, decimals) => {
  const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0)) || 1;
  return value.toFixed(Math.max(0, Math.min(decimals + 1, Math.ceil(-Math.log10(step)))));
};

const padded = (low, high) => {
  if (low == null) return [0, 1];
  const half = Math.max((high - low) * 0.55, Math.abs(high) * 0.002, 1e-3);
  return [(low + high) / 2 - half, (low + high) / 2 + half];
};

const two = (n) => String(n).padStart(2, "0");
const dated = (u, ticks) => {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : u.scales.x.max - u.scales.x.min;
  return ticks.map((seconds) => {
    const d = zoned(seconds);
    const day = `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
    const time = `${two(d.getHours())}:${two(d.getMinutes())}`;
    if (step >= 27 * 86400) return `${d.getFullYear()}-${two(d.getMonth() + 1)}`;
    if (step >= 86400) return day;
    if (step < 60) return `${time}:${two(d.getSeconds())}`;
    return time === "00:00" ? day : time;
  });
};

function draw() {
  for (const chart of charts) chart.draw();
}

function look(zone, at) {
  const chart = charts.find((c) => c.zone.id === zone) ?? charts[0];
  if (!chart) return;
  const whole = (data.width * chart.series().low.length) / 1e3;
  const half = Math.max(whole / 40, (30 * data.width) / 1e3, CLOSE_S);
  shown = { min: at / 1e3 - half, max: at / 1e3 + half };
  for (const one of charts) one.view.setScale("x", shown);
  chart.head.scrollIntoView({ behavior: "smooth", block: "center" });
}

const place = document.getElementById("charts");
if (place && typeof uPlot !== "undefined") {
  for (const zone of data.zones) {
    if (zone.inflow.length || zone.points.length) charts.push(new Chart(zone, place));
  }
  draw();
  place.addEventListener("dblclick", () => { shown = null; draw(); });
  new ResizeObserver(() => {
    for (const c of charts) c.view.setSize({ width: c.plot.clientWidth, height: 205 });
  }).observe(place);
  document.addEventListener("click", (event) => {
    const told = event.target.closest("[data-at]");
    if (told) look(told.dataset.zone, Number(told.dataset.at));
  });
}
