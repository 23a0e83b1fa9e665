// Make a section look like new HTML while keeping what a person is doing in it: typed text, focus,
// opened details. Children are matched by id where they have one, else by place.

export function morph(section, html) {
  const wanted = document.createElement("template");
  wanted.innerHTML = html;
  children(section, wanted.content);
}

function children(from, to) {
  const byId = new Map([...from.children].filter((e) => e.id).map((e) => [e.id, e]));
  let place = from.firstChild;
  for (const want of [...to.childNodes]) {
    const mine = (want.id && byId.get(want.id)) || (matches(place, want) ? place : null);
    if (mine) {
      if (mine !== place) from.insertBefore(mine, place);
      else place = place.nextSibling;
      node(mine, want);
    } else {
      from.insertBefore(want, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function matches(mine, want) {
  return mine && mine.nodeType === want.nodeType && mine.nodeName === want.nodeName
    && !mine.id && !want.id && mine.action === want.action;
}

function node(mine, want) {
  if (mine.nodeType !== Node.ELEMENT_NODE) {
    if (mine.nodeValue !== want.nodeValue) mine.nodeValue = want.nodeValue;
    return;
  }
  attributes(mine, want);
  if (mine.matches("input[type=hidden]")) mine.value = want.value;
  if (!mine.matches("input, textarea")) children(mine, want);
}

function attributes(mine, want) {
  for (const { name, value } of want.attributes) {
    if (mine.getAttribute(name) !== value) mine.setAttribute(name, value);
  }
  for (const { name } of [...mine.attributes]) {
    const open = name === "open" && mine.matches("details");
    if (!open && !want.hasAttribute(name)) mine.removeAttribute(name);
  }
}
