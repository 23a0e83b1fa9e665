// The trend of one point: mean within min and max, alarms marked, the newest value appended.

import uPlot from "./vendor/uPlot.esm.js";
import { facts } from "./facts.js";
import { printClock, serverNow } from "./clock.js";

const SPANS = { "10m": 600e3, "1h": 3600e3, "24h": 86400e3, "28d": 28 * 86400e3 };
const BUCKETS = 600;
const LIVE = new Set(["10m", "1h"]);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const zoned = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), facts.timezone);

export class Trend {
  constructor(chart, select, ranges) {
    this.chart = chart;
    this.select = select;
    this.ranges = [...ranges];
    this.range = "1h";
    this.marks = [];
    this.judged = [];
    select.addEventListener("change", () => this.show(select.value));
    for (const button of this.ranges) {
      button.addEventListener("click", () => this.show(select.value, button.dataset.range));
    }
    new ResizeObserver(() => this.resize()).observe(chart);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.load());
    setInterval(() => this.load(), 30000); // closes buckets, and brings what came late
    const alarmed = document.querySelector(".alarm [data-point]")?.dataset.point;
    if (select.value) this.show(alarmed ?? select.value);
  }

  show(point, range = this.range) {
    this.select.value = point;
    this.range = range;
    for (const b of this.ranges) b.setAttribute("aria-pressed", String(b.dataset.range === range));
    this.markShown();
    return this.load();
  }

  markShown() {
    document.getElementById("trend-quality").href = `/quality/${this.select.value}`;
    document.querySelector("tr.shown")?.classList.remove("shown");
    document.getElementById(`point-${this.select.value}`)?.classList.add("shown");
  }

  async load() {
    const point = this.select.value;
    const range = this.range;
    const query = new URLSearchParams({ point, range, buckets: BUCKETS });
    let series;
    try {
      series = await (await fetch(`/api/v1/series?${query}`)).json();
    } catch {
      return; // the stale band says it; the old curve is better than none
    }
    if (point !== this.select.value || range !== this.range) return;
    const { factor } = this.units();
    const scaled = (numbers) => numbers.map((n) => n * factor);
    this.marks = series.marks;
    this.judged = series.quality;
    this.data = gapped(series, [scaled(series.low), scaled(series.mean), scaled(series.high)]);
    this.draw();
  }

  append(point, last) {
    if (point !== this.select.value || !LIVE.has(this.range) || !this.plot) return;
    const at = last.at / 1e3;
    if (last.value === null || at <= (this.data[0].at(-1) ?? 0)) return;
    const value = last.value * this.units().factor;
    this.data = this.data.map((column, n) => [...column, n ? value : at]);
    this.plot.setData(this.data, false);
    this.plot.setScale("x", this.window());
  }

  units() {
    return facts.units[this.select.selectedOptions[0]?.dataset.quantity ?? "state"];
  }

  window() {
    const now = serverNow();
    return { min: (now - SPANS[this.range]) / 1e3, max: now / 1e3 };
  }

  size() {
    return { width: Math.max(200, this.chart.clientWidth - 12), height: 204 };
  }

  resize() {
    this.plot?.setSize(this.size());
  }

  draw() {
    const { unit, decimals } = this.units();
    const print = (u, value) => (value == null ? "–" : value.toFixed(decimals));
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false }, font: "12px system-ui" };
    const line = colour("--accent");
    const options = {
      ...this.size(),
      tzDate: zoned,
      cursor: { drag: { x: false, y: false }, points: { size: 5 } },
      scales: { x: { time: true, range: () => Object.values(this.window()) }, y: { range: padded(decimals) } },
      axes: [
        { ...axis, size: 28, values: dated(this.range) },
        { ...axis, size: 56, values: (u, ticks) => ticks.map((t) => t.toFixed(enough(ticks))) },
      ],
      series: [
        { label: facts.words["js.time"], value: (u, at) => (at == null ? "–" : printClock(at * 1e3)) },
        { label: facts.words["js.min"], show: true, width: 0, points: { show: false }, value: print },
        { label: facts.words["js.mean"], stroke: line, width: 1.5, points: { show: false }, value: print },
        { label: `${facts.words["js.max"]} (${unit})`, width: 0, points: { show: false }, value: print },
      ],
      bands: [{ series: [3, 1], fill: `${line}40` }],
      hooks: { drawClear: [(u) => this.drawJudged(u)], draw: [(u) => this.drawMarks(u)] },
    };
    this.plot?.destroy();
    this.chart.replaceChildren();
    if (!this.data[0].length) {
      const none = document.createElement("p");
      none.className = "calm";
      none.textContent = facts.words["js.no_series"];
      this.chart.append(none);
    }
    this.plot = new uPlot(options, this.data, this.chart);
  }

  // What a quality mark says is not good: shaded, behind the curve, with the words of its quality.
  drawJudged(u) {
    const { ctx, bbox } = u;
    const right = bbox.left + bbox.width;
    ctx.save();
    for (const { begin, end, quality } of this.judged) {
      const from = Math.max(bbox.left, u.valToPos(begin / 1e3, "x", true));
      const to = Math.min(right, u.valToPos(end / 1e3, "x", true));
      if (to <= from) continue;
      ctx.fillStyle = colour("--sunk");
      ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
      ctx.fillStyle = colour("--soft");
      ctx.font = `${12 * devicePixelRatio}px system-ui`;
      const words = facts.words[`js.quality_${quality}`];
      if (ctx.measureText(words).width + 8 > to - from) continue;
      ctx.fillText(words, from + 4, bbox.top + bbox.height - 6 * devicePixelRatio);
    }
    ctx.restore();
  }

  drawMarks(u) {
    const { ctx, bbox } = u;
    ctx.save();
    for (const mark of this.marks) {
      const x = u.valToPos(mark.onset / 1e3, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(`--s${mark.severity}`);
      ctx.lineWidth = 2;
      ctx.setLineDash([6, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.font = `${12 * devicePixelRatio}px system-ui`;
      ctx.textAlign = x > bbox.left + bbox.width * 0.8 ? "right" : "left";
      ctx.fillText(mark.id, x + (ctx.textAlign === "right" ? -5 : 5), bbox.top + 12 * devicePixelRatio);
    }
    ctx.restore();
  }
}

// A hole in the data must be a hole in the curve. What a hole is, the neighbours tell: imported past
// comes every five minutes, live data every second.
function gapped(series, columns) {
  const out = [[], [], [], []];
  const gap = (n) => (series.at[n] ?? NaN) - (series.at[n - 1] ?? NaN);
  series.at.forEach((at, n) => {
    const usual = Math.max(gap(n - 1) || 0, gap(n + 1) || 0, series.width_ms);
    if (gap(n) > 3 * usual) {
      out[0].push((at - gap(n) / 2) / 1e3);
      for (const column of out.slice(1)) column.push(null);
    }
    out[0].push(at / 1e3);
    columns.forEach((column, k) => out[k + 1].push(column[n]));
  });
  return out;
}

// As many decimals as the step between two ticks has: 2.5 needs one.
const enough = (ticks) => {
  const step = ticks[1] - ticks[0] || 1;
  return [0, 1, 2, 3, 4].find((d) => Math.abs(step * 10 ** d - Math.round(step * 10 ** d)) < 1e-6) ?? 5;
};

// A steady value fills no screen with its noise: at least fifty of the last shown digit.
const padded = (decimals) => (u, low, high) => {
  if (low == null) return [0, 1];
  const middle = (low + high) / 2;
  const half = Math.max((high - low) * 0.6, 25 / 10 ** decimals);
  return [middle - half, middle + half];
};

const dated = (range) => (u, ticks) =>
  ticks.map((t) => {
    const d = zoned(t);
    const two = (n) => String(n).padStart(2, "0");
    return range === "28d" ? `${d.getMonth() + 1}-${d.getDate()}` : `${two(d.getHours())}:${two(d.getMinutes())}`;
  });
