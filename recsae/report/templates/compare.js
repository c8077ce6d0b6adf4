// ---- two runs side by side: pairs of concepts, and those without a counterpart ----
const SHOWN = 30;
const state = { text: "", every: false, all: new Set() };
const SIDES = [["before", "first run"], ["after", "second run"]];
const NOTES = {
  "same name": "same name", "another name": "another name",
  merged: "like one of the second run that is nearer to another",
  split: "like one of the first run that is nearer to another",
};
const cardOf = (side, latent) => (known(latent) ? data[side][latent] : null);
const pairs = Object.entries(data.sections).map(([id, list]) => [id, list.map(([change, before, after, similarity, withName]) => {
  const cards = { before: cardOf("before", before), after: cardOf("after", after) };
  const both = [cards.before, cards.after].filter(Boolean);
  const text = both.flatMap((c) => [c.name, c.label, ...c.follows.map(title), ...c.promotes.map(title)]).join("\n").toLowerCase();
  // of what is merged or split off the nearest one stands beside it: it was not chosen itself
  return { change, similarity, withName, text, cards, verified: both.some((c) => c.status === "verified") };
})]);

function titles(key, list) {
  const quoted = list.map((item) => "“" + title(item) + "”").join(", ");
  return list.length ? [el("p", {}, el("span", { class: "key" }, key + " "), quoted)] : [];
}
function card(c, run) {
  return el("div", { class: "side" }, el("p", { class: "of" }, run), el("h3", { title: c.label }, c.name),
    el("p", {}, el("span", { class: "status " + c.status }, c.status), " · " + c.right),
    ...titles("follows", c.follows), ...titles("promotes", c.promotes));
}
function nothing(run, pair) {
  const says = [known(pair.similarity) ? "None like it; the most similar is at " + score(pair.similarity) + "." : "No concept of this name."];
  if (known(pair.similarity) && !pair.withName) says.push(" Another concept is verified by its name.");
  return el("div", { class: "side none" }, el("p", { class: "of" }, run), el("p", {}, ...says));
}
function pairRow(pair) {
  const parts = [NOTES[pair.change]];
  if (known(pair.similarity) && pair.cards.before && pair.cards.after) parts.push("similarity " + score(pair.similarity));
  const note = parts.filter(Boolean).join(" · ");
  const sides = SIDES.map(([side, run]) => (pair.cards[side] ? card(pair.cards[side], run) : nothing(run, pair)));
  return el("li", { class: "pair", tabindex: "-1" }, ...(note ? [el("p", { class: "pair-note" }, note)] : []), el("div", { class: "sides" }, ...sides));
}
function draw() {
  const words = wordsOf(state.text);
  for (const [id, list] of pairs) {
    const asked = list.filter((pair) => state.every || pair.verified);
    const found = asked.filter((pair) => words.every((word) => pair.text.includes(word)));
    const shown = state.all.has(id) ? found : found.slice(0, SHOWN);
    byId("pairs-" + id).replaceChildren(...shown.map(pairRow));
    const all = several(found.length, id === "matched" ? "pair" : "concept", id === "matched" ? "pairs" : "concepts")
      + (state.every ? "" : id === "matched" ? " with a verified concept" : ", verified or like one that is");
    byId("found-" + id).textContent = !found.length ? (words.length ? "None matches." : "None.")
      : shown.length < found.length ? "The first " + shown.length + " of " + all : all;
    byId("more-" + id).replaceChildren(...(shown.length < found.length
      ? [el("button", { type: "button", "data-id": id }, "Show all " + count(found.length))] : []));
  }
}
byId("search").addEventListener("input", (event) => { state.text = event.target.value; draw(); });
byId("every").addEventListener("change", (event) => { state.every = event.target.checked; draw(); });
document.querySelector("main").addEventListener("click", (event) => {
  const button = event.target.closest(".more button");
  if (!button) return;
  state.all.add(button.dataset.id);
  draw();
  byId("pairs-" + button.dataset.id).children[SHOWN].focus(); // where reading goes on
});
draw();
const linked = byId(location.hash.slice(1));
if (linked) linked.scrollIntoView({ behavior: "instant" }); // the cards above it were not there yet
