// Time on the page follows the server's clock, whatever the browser's own says.

import { facts } from "./facts.js";

const started = performance.now();
let offset = facts.now - started;

const printer = new Intl.DateTimeFormat("en-GB", {
  timeZone: facts.timezone, hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const serverNow = () => performance.now() + offset;
export const serverSays = (now) => { offset = now - performance.now(); };
export const printClock = (at) => printer.format(at);

export function every(milliseconds, act) {
  setInterval(act, milliseconds);
  act();
}

export function printAge(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [word, n] =
    seconds < 90 ? ["js.seconds", seconds]
    : seconds < 5400 ? ["js.minutes", Math.floor(seconds / 60)]
    : seconds < 172800 ? ["js.hours", Math.floor(seconds / 3600)]
    : ["js.days", Math.floor(seconds / 86400)];
  return facts.words[word].replace("{n}", n);
}

const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export function tick() {
  const now = serverNow();
  put(document.getElementById("clock"), printClock(now));
  for (const e of document.querySelectorAll("[data-ago]")) {
    put(e, e.dataset.ago ? printAge(now - Number(e.dataset.ago)) : "–");
  }
  for (const e of document.querySelectorAll("[data-since]")) {
    put(e, printAge(now - Number(e.dataset.since)));
  }
}
