// Send forms without leaving the page, and never lose what was typed.

import { facts } from "./facts.js";

const draftKey = (field) => `draft ${new URL(field.form.action).pathname}`;
const isDraft = (field) => field?.name === "text" && field.form;

export async function send(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST", body: new FormData(form), headers: { Accept: "application/json" },
    });
    const body = await answer.json();
    if (!answer.ok) return body.detail;
    for (const field of form.elements) {
      if (isDraft(field)) {
        sessionStorage.removeItem(draftKey(field));
        field.value = "";
      }
    }
    return "";
  } catch {
    return facts.words["js.not_sent"];
  } finally {
    button.disabled = false;
  }
}

export function keepDrafts() {
  document.addEventListener("input", ({ target }) => {
    if (isDraft(target)) sessionStorage.setItem(draftKey(target), target.value);
  });
  for (const field of document.querySelectorAll("[name=text]")) {
    field.value ||= sessionStorage.getItem(draftKey(field)) ?? "";
  }
}
