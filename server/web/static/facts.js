// What the server wrote into the page for its scripts.

export const facts = JSON.parse(document.getElementById("facts").textContent);
facts.title = document.title;
