
// ---- the table's columns ----
const rate = (value, low) => [percent(value), known(low) ? el("span", { class: "bound" }, "at least " + floored(low)) : ""];
const rank = (c) => STATUSES.indexOf(standing(c));
const COLUMNS = [
  { id: "name", head: "concept", value: (c) => c.name.toLowerCase(), first: 1 },
  { id: "status", head: "status", value: rank, first: 1 },
  { id: "precision", head: "precision", value: (c) => c.precision, show: (c) => rate(c.precision, c.precision_low), first: -1,
    tip: "How often the concept is active on held-out users when the label says so. Below it: what it is at least" + SURE + "; verified asks for " + ASKED + "." },
  { id: "recall", head: "recall", value: (c) => c.recall, show: (c) => rate(c.recall, c.recall_low), first: -1,
    tip: "How many of the active cases of held-out users the label finds. Below it: what it is at least" + SURE + "; verified asks for " + ASKED + "." },
  { id: "f1", head: "F1", value: (c) => c.f1, show: (c) => score(c.f1), first: -1, minor: true,
    tip: "One figure for precision and recall, their harmonic mean" },
  { id: "explains", head: "explains alone", value: (c) => c.explains, show: (c) => percent(c.explains), first: -1, minor: true,
    tip: "Share of the variance of the model's scores that the concept explains by itself, on held-out users. Concepts of one status are sorted by it, times precision, times how often they come back" },
  { id: "cases", head: "active cases", value: (c) => c.n_pos, show: (c) => count(c.n_pos), first: -1, minor: true,
    tip: "Held-out cases on which the concept is active" },
  { id: "often", head: "active on", value: (c) => c.fire_rate, show: (c) => percent(c.fire_rate), first: -1, minor: true,
    tip: "Share of held-out cases on which the concept is active" },
];
if (data.again) {
  COLUMNS.push({ id: "back", head: "comes back", value: (c) => c.back && c.back.label, show: (c) => (c.back ? ofAgain(c.back.label) : "–"), first: -1, minor: true,
    tip: "In how many of the dictionaries that were made again a latent active on the same cases has the same label" });
}
if (concepts.some((c) => known(c.obeyed))) {
  const order = ["yes", "cannot be told", "no"];
  COLUMNS.push({ id: "obeyed", head: "obeyed", value: (c) => (known(c.obeyed) ? order.indexOf(c.obeyed) : null), show: (c) => (known(c.obeyed) ? DOES[c.obeyed] : "–"), first: 1, minor: true,
    tip: "Whether turning it does what its label says: lists of held-out users hold more of it (or fewer, if it says so) when the concept is turned up than when it is turned down. No: the opposite happens. Unsure: no change can be told" });
}
// the data hold the most useful first
const placed = new Map(concepts.map((c, place) => [c, place]));
const byTrust = (a, b) => rank(a) - rank(b) || placed.get(a) - placed.get(b);
const KINDS = [["item", "a few items"], ["theme", "a theme"], ["situation", "a situation"], ["general", "general"]];

// ---- state ----
const state = { text: "", status: null, kind: null, once: false, sort: null, direction: 1, shown: FIRST };
let opened = null; // the latent whose evidence is open
concepts.sort(byTrust);
const own = (c) => [c.name, c.label, c.tested_as || "", ...(c.language ? [c.language.name, c.language.text] : [])];
const haystack = new Map(concepts.map((c) => [c.latent, [...own(c), ...c.promotes.map((p) => title(p[0]))].join("\n").toLowerCase()]));
// a word is looked for where words begin: "war" is in "Star Wars", not in "Edward"
const begins = (text, word) => {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) if (!at || !/[\p{L}\p{N}]/u.test(text[at - 1]) || !/[\p{L}\p{N}]/u.test(word[0])) return true;
  return false;
};
const says = (texts, words) => words.every((word) => begins(texts.join("\n").toLowerCase(), word));
// where the words are: 0 in the name, 1 in what the label says, 2 in an item that it promotes
const nearness = (c, words) => (says([c.name], words) ? 0 : says(own(c), words) ? 1 : 2);

function selected() {
  const words = wordsOf(state.text);
  const number = /^\s*(?:latent|#)\s*(\d+)\s*$/i.exec(state.text);
  const seen = new Set();
  let list = concepts.filter((c) => {
    if (state.status && standing(c) !== state.status) return false;
    if (state.kind && c.kind !== state.kind) return false;
    const text = haystack.get(c.latent);
    if (number ? c.latent !== Number(number[1]) : !words.every((word) => begins(text, word))) return false;
    if (!state.once) return true;
    const fresh = !seen.has(c.key);
    seen.add(c.key);
    return fresh;
  });
  if (words.length && !number && !state.sort) list = list.map((c) => [nearness(c, words), c]).sort(([a, x], [b, y]) => a - b || byTrust(x, y)).map((pair) => pair[1]);
  if (state.sort) {
    const value = state.sort.value;
    list = list.map((c) => [value(c), c]).sort(([a, x], [b, y]) => {
      if (!known(a) || !known(b)) return known(b) - known(a) || byTrust(x, y);
      return (a < b ? -1 : a > b ? 1 : 0) * state.direction || byTrust(x, y);
    }).map((pair) => pair[1]);
  }
  return list;
}

// ---- a search that finds nothing: the nearest words, and where else the words occur ----
const FEW = 8;
// how many letters must be put in, left out, changed or swapped with the next one
function apart(a, b) {
  let before = [], above = [...b, ""].map((_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      row[j] = Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    [before, above] = [above, row];
  }
  return above[b.length];
}
let spelt = null;
// every word of names and titles as it is written, and how often
function vocabulary() {
  if (spelt) return spelt;
  spelt = new Map();
  for (const text of [...concepts.map((c) => c.name), ...data.items.map((item) => item[0])]) {
    for (const word of text.match(/[\p{L}\p{N}]+/gu) || []) {
      const known = spelt.get(word.toLowerCase());
      if (known) known[1] += 1; else spelt.set(word.toLowerCase(), [word, 1]);
    }
  }
  return spelt;
}
function nearestWord(word) {
  const most = word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
  let found = null, best = [most + 1, 0];
  for (const [other, [written, often]] of vocabulary()) {
    if (Math.abs(other.length - word.length) > most) continue;
    const far = apart(word, other);
    if (far < best[0] || (far === best[0] && often > best[1])) [found, best] = [written, [far, often]];
  }
  return best[0] <= most ? found : null;
}
// what was typed with each unknown word as the nearest one is written; null where one has none
function suggestion(words) {
  const lists = [...haystack.values()];
  const near = words.map((word) => (lists.some((text) => begins(text, word)) ? word : nearestWord(word)));
  return near.includes(null) || near.every((word, i) => word === words[i]) ? null : near.join(" ");
}
function elsewhere(text) {
  const words = wordsOf(text);
  if (!words.length) return [];
  const has = (string) => says([string], words);
  const parts = [], hidden = concepts.filter((c) => has(haystack.get(c.latent)));
  if (hidden.length) {
    parts.push(el("p", {}, several(hidden.length, "concept has", "concepts have") + " these words, but not the status or kind that is shown. ",
      el("button", { type: "button", "data-clear": "" }, "Show them")));
  }
  const items = new Set(data.items.flatMap((item, place) => (has(item[0]) ? [place] : [])));
  if (items.size) {
    parts.push(el("p", {}, "In the titles of " + several(items.size, "item", "items") + ": "
      + [...items].slice(0, FEW).map(title).join("; ") + (items.size > FEW ? "; …" : "") + "."));
    const theirs = concepts.filter((c) => c.active.some((told) => items.has(told[1])) || c.examples.some((e) => e[4].some((i) => items.has(i))));
    if (theirs.length) {
      parts.push(el("p", {}, "Concepts active on them:"), el("ul", {}, ...theirs.slice(0, FEW).map((c) => el("li", {}, el("a", { href: "#latent-" + c.latent }, c.name)))));
    }
  }
  const near = parts.length ? null : suggestion(words);
  if (near) parts.push(el("p", {}, "Did you mean ", el("button", { type: "button", "data-near": near }, near), "?"));
  const values = data.values.filter((value) => has(value[0] + " " + value[2]));
  if (values.length && !hidden.length) parts.push(el("p", {}, "Labels know of: " + values.slice(0, FEW).map((value) => value[2]).join("; ") + "."));
  return parts.length ? parts : [el("p", {}, "The words are in no title and no label either.")];
}

// ---- drawing the table ----
function marks(c) {
  const found = [], words = wordsOf(state.text);
  if (words.length && !says(own(c), words)) {
    const items = c.promotes.map((p) => title(p[0])).filter((name) => words.some((word) => begins(name.toLowerCase(), word)));
    if (items.length) found.push(el("span", { class: "mark" }, "promotes " + items.slice(0, 2).join(", ")));
  }
  if (c.correction) found.push(el("span", { class: "mark corrected", title: "People " + c.correction + " it; tested as " + c.tested_as }, c.correction + ", tested as “" + c.tested_as + "”"));
  if (c.stable) found.push(el("span", { class: "mark stable" }, "comes back"));
  return found;
}
function row(c) {
  const is = opened === c.latent;
  const button = el("button", { type: "button", "aria-expanded": is, "aria-controls": "evidence-" + c.latent }, el("span", { class: "clamp", title: c.name }, c.name));
  const rejected = standing(c) === "rejected";
  const node = el("tr", { id: "latent-" + c.latent, class: (is ? "row open" : "row") + (rejected ? " out" : "") },
    el("td", { class: "name" }, button, el("p", { class: "clamp", title: c.label }, c.brief ?? c.label), ...marks(c)),
    el("td", { class: "status-cell" }, el("span", { class: "status " + standing(c) }, standing(c)), rejected ? el("span", { class: "bound" }, "tested: " + c.status) : ""));
  for (const column of COLUMNS.slice(2)) node.append(el("td", { class: column.minor ? "minor" : column.id }, ...[column.show(c)].flat()));
  return node;
}
function evidenceRow(c) {
  const cell = el("td", { colspan: COLUMNS.length }, evidence(c));
  return el("tr", { class: "detail", id: "evidence-" + c.latent }, cell);
}
function draw() {
  const list = selected();
  const rows = document.createDocumentFragment();
  for (const c of list.slice(0, state.shown)) {
    rows.append(row(c));
    if (opened === c.latent) rows.append(evidenceRow(c));
  }
  byId("table").tBodies[0].replaceChildren(rows);
  const all = several(concepts.length, "concept", "concepts");
  byId("found").textContent = list.length === concepts.length ? all
    : list.length ? count(list.length) + " of " + all : "No concept matches.";
  byId("elsewhere").replaceChildren(...(list.length ? [] : elsewhere(state.text)));
  const more = byId("more");
  more.replaceChildren();
  if (list.length > state.shown) {
    const next = Math.min(STEP * (Math.floor(state.shown / STEP) + 1), list.length);
    more.append(el("button", { type: "button", "data-show": next }, "Show " + (next - state.shown) + " more"),
      el("button", { type: "button", "data-show": list.length }, "Show all " + count(list.length)));
  }
  for (const head of byId("table").tHead.rows[0].cells) {
    if (state.sort && head.dataset.sort === state.sort.id) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  for (const [group, key] of [["filters", "status"], ["kinds", "kind"]]) {
    for (const button of byId(group).children) button.setAttribute("aria-pressed", (button.dataset[key] || null) === state[key]);
  }
}
function shut() {
  const row = known(opened) && byId("latent-" + opened);
  if (row) {
    row.classList.remove("open");
    row.querySelector("button").setAttribute("aria-expanded", false);
    byId("evidence-" + opened).remove();
  }
  opened = null;
}
// one row is open at a time; the one that was clicked stays where it is on the screen
function toggle(c, node) {
  const opening = opened !== c.latent, place = node.getBoundingClientRect().top;
  shut();
  if (opening) {
    opened = c.latent;
    node.after(evidenceRow(c));
    node.classList.add("open");
    node.querySelector("button").setAttribute("aria-expanded", true);
    history.replaceState(null, "", "#latent-" + c.latent);
  }
  scrollBy({ top: node.getBoundingClientRect().top - place, behavior: "instant" });
}
