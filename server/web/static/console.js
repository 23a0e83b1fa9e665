// The console: wires the live stream to the page. Everything here is a comfort; the page and its
// forms work without any of it.

import { facts } from "./facts.js";
import { every, printClock, tick } from "./clock.js";
import { listen } from "./live.js";
import { morph } from "./morph.js";
import { alert, canSound, unlock, wake } from "./sound.js";
import { keepDrafts, send } from "./forms.js";

const one = (selector) => document.querySelector(selector);
const staleBand = one("#stale");
const message = one("#message");
let known = null; // what has sounded; nothing does that was there when the page was opened
let trend = null;

function unseen() {
  return new Set(
    [...document.querySelectorAll("[data-unseen]")].map((e) => e.dataset.unseen).filter(Boolean),
  );
}

function say(text) {
  message.querySelector("span").textContent = text;
  message.hidden = !text;
}

function showSections(sections) {
  for (const [name, html] of Object.entries(sections)) morph(one(`#${name}`), html);
  const now = unseen();
  document.title = (now.size ? `(${now.size}) ` : "") + facts.title;
  trend?.markShown();
  tick();
}

// Which sound stands for which alarm; in a flood one stands for a whole incident.
function hear(heard) {
  const names = Object.entries(heard);
  const isNew = known && names.some(([alarm, sound]) => !known.has(alarm) && !known.has(sound));
  if (facts.operator && isNew) alert();
  known = new Set(names.flat());
}

function signed(change, factor, decimals) {
  if (change === null) return "–";
  return (change < 0 ? "" : "+") + (change * factor).toFixed(decimals);
}

function showValues(values) {
  for (const [point, last] of Object.entries(values)) {
    const row = document.getElementById(`point-${point}`);
    if (!row) continue;
    const { factor, decimals } = facts.units[row.dataset.quantity];
    row.querySelector("[data-value]").textContent =
      last.value === null ? "–" : (last.value * factor).toFixed(decimals);
    row.querySelector("[data-change]").textContent = signed(last.change, factor, decimals);
    row.querySelector("[data-ago]").dataset.ago = last.at;
    row.querySelector("[data-why]").textContent = facts.reasons[last.reason] ?? "";
    row.querySelector("[data-time]").textContent = facts.times[last.time_quality] ?? "";
    row.classList.toggle("doubtful", last.quality !== 192 || last.time_quality === "doubtful");
    const gateway = one(`[data-gateway="${row.dataset.from}"]`);
    if (gateway) gateway.dataset.ago = Math.max(gateway.dataset.ago, last.arrived_at);
    trend?.append(point, last);
  }
  tick();
}

function showHealth({ stale, since, engine, stopped, newest }) {
  document.body.classList.toggle("stale", stale);
  document.body.dataset.watched = "";
  staleBand.hidden = !stale;
  staleBand.textContent = since
    ? facts.words["js.stale"].replace("{time}", printClock(since))
    : facts.words["js.no_data"];
  const pill = one("#engine");
  pill.textContent = pill.dataset[engine ? "up" : stopped || "down"];
  pill.classList.toggle("bad", !engine);
  const fresh = one("[data-newest]");
  fresh.dataset.ago = newest ?? "";
}

// Without leaving the page, which would silence it again.
async function showOperator() {
  const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
  morph(one(".who"), page.querySelector(".who").innerHTML);
  facts.operator = one("#operator") !== null;
  showSound();
}

function showSound() {
  one("#silent").hidden = !facts.operator || canSound();
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-act], #start")) return;
  event.preventDefault();
  if (form.id === "start") await unlock(); // the click is the gesture that browsers ask for
  say(await send(form));
  if (form.id === "start") await showOperator();
});

document.addEventListener("click", async (event) => {
  const { target } = event;
  if (target.id === "dismiss") say("");
  if (target.id === "unblock") await unlock();
  const link = target.closest("[data-point]");
  if (link && trend) {
    event.preventDefault();
    trend.show(link.dataset.point);
  }
  showSound();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key !== "a" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  one(".alarm.unseen form[data-act]")?.requestSubmit();
});

async function showTrend() {
  const { Trend } = await import("./trend.js");
  trend = new Trend(one("#chart"), one("#trend-point"), document.querySelectorAll("[data-range]"));
}

if (facts.operator) wake();
keepDrafts();
listen({ sections: showSections, values: showValues, health: showHealth, hear });
every(1000, () => {
  tick();
  showSound();
});
if (facts.trend) await showTrend(); // last: the watch over the data must not wait for a picture
