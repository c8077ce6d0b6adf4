(() => {
"use strict";
// Text from the data set only ever becomes a text node or an attribute's value: no markup here.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const STATUSES = ["verified", "supported", "unsupported", "untested", "dead"];
const STEP = 25;
const SURE = typeof data.level === "number" ? " (" + 100 * data.level + "% sure)" : "";
const known = (value) => value !== undefined && value !== null;

// ---- small helpers ----
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const score = (x) => (known(x) ? x.toFixed(2) : "–");
const signed = (x) => (known(x) ? (x < 0 ? "−" : "+") + Math.abs(x).toPrecision(2) : "–");
const several = (n, one, many) => count(n) + " " + (n === 1 ? one : many);
function percent(x) {
  if (!known(x)) return "–";
  const value = 100 * x;
  return (value > 0 && value < 0.995 ? value.toPrecision(1) : value.toFixed(value < 9.95 ? 1 : 0)) + "%";
}
const own = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);
const title = (item) => (own(data.items, item) || [item])[0];
function matches(concept, item) {
  const attributes = (own(data.items, item) || [])[1];
  const values = attributes && concept.attribute ? own(attributes, concept.attribute) : undefined;
  return Array.isArray(values) && values.includes(concept.value);
}
function about(item) {
  const attributes = (own(data.items, item) || [])[1] || {};
  return Object.entries(attributes).map(([k, v]) => k + ": " + v.join(", ")).join("; ");
}

// ---- the table's columns ----
const rank = (c) => STATUSES.indexOf(c.status);
const COLUMNS = [
  { id: "name", head: "concept", value: (c) => c.name.toLowerCase(), first: 1 },
  { id: "status", head: "status", value: rank, first: 1 },
  { id: "accuracy", head: "accuracy", value: (c) => c.balanced_accuracy, first: -1,
    tip: "Balanced accuracy of the label on held-out users; 0.5 is a coin. Below it: the bound it is above with the confidence that verifying asks for." },
  { id: "precision", head: "precision", value: (c) => c.precision, show: (c) => percent(c.precision), first: -1, minor: true,
    tip: "How often the concept is active when the label says so" },
  { id: "recall", head: "recall", value: (c) => c.recall, show: (c) => percent(c.recall), first: -1, minor: true,
    tip: "How many of the active cases the label finds" },
  { id: "cases", head: "active cases", value: (c) => c.n_pos, show: (c) => count(c.n_pos), first: -1, minor: true,
    tip: "Held-out cases on which the concept is active" },
  { id: "often", head: "active on", value: (c) => c.fire_rate, show: (c) => percent(c.fire_rate), first: -1, minor: true,
    tip: "Share of held-out cases on which the concept is active" },
];
const byTrust = (a, b) => rank(a) - rank(b) || (b.ci_low ?? -1) - (a.ci_low ?? -1)
  || (b.balanced_accuracy ?? -1) - (a.balanced_accuracy ?? -1) || a.latent - b.latent;

// ---- state ----
const state = { text: "", status: null, once: false, sort: null, direction: 1, shown: STEP };
const open = new Set();
const concepts = data.concepts.slice().sort(byTrust);
const byLatent = new Map(concepts.map((c) => [c.latent, c]));
const haystack = new Map(concepts.map((c) => [c.latent,
  [c.name, c.label, ...c.promotes.map((p) => title(p[0]))].join("\n").toLowerCase()]));

function selected() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const number = /^\s*(?:latent|#)\s*(\d+)\s*$/i.exec(state.text);
  const seen = new Set();
  let list = concepts.filter((c) => {
    if (state.status && c.status !== state.status) return false;
    const text = haystack.get(c.latent);
    if (number ? c.latent !== Number(number[1]) : !words.every((word) => text.includes(word))) return false;
    if (!state.once) return true;
    const fresh = !seen.has(c.key);
    seen.add(c.key);
    return fresh;
  });
  if (state.sort) {
    const value = state.sort.value;
    list = list.map((c) => [value(c), c]).sort(([a, x], [b, y]) => {
      if (!known(a) || !known(b)) return known(b) - known(a) || byTrust(x, y);
      return (a < b ? -1 : a > b ? 1 : 0) * state.direction || byTrust(x, y);
    }).map((pair) => pair[1]);
  }
  return list;
}

// ---- drawing the table ----
function row(c) {
  const is = open.has(c.latent);
  const button = el("button", { type: "button", "aria-expanded": is, "aria-controls": "evidence-" + c.latent }, c.name);
  const node = el("tr", { id: "latent-" + c.latent, class: is ? "row open" : "row" },
    el("td", { class: "name" }, button, el("p", {}, c.label)),
    el("td", { class: "status-cell" }, el("span", { class: "status " + c.status }, c.status)),
    el("td", { class: "accuracy" }, score(c.balanced_accuracy),
      known(c.ci_low) ? el("span", { class: "bound" }, "above " + score(c.ci_low)) : ""));
  for (const column of COLUMNS.slice(3)) node.append(el("td", { class: "minor" }, column.show(c)));
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
    if (open.has(c.latent)) rows.append(evidenceRow(c));
  }
  byId("table").tBodies[0].replaceChildren(rows);
  const all = several(concepts.length, "concept", "concepts");
  byId("found").textContent = list.length === concepts.length ? all
    : list.length ? count(list.length) + " of " + all : "No concept matches. Try fewer words or another status.";
  const more = byId("more");
  more.replaceChildren();
  if (list.length > state.shown) {
    more.append(el("button", { type: "button", "data-show": state.shown + STEP }, "Show " + Math.min(STEP, list.length - state.shown) + " more"),
      el("button", { type: "button", "data-show": list.length }, "Show all " + count(list.length)));
  }
  for (const head of byId("table").tHead.rows[0].cells) {
    if (state.sort && head.dataset.sort === state.sort.id) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  for (const button of byId("filters").children) {
    button.setAttribute("aria-pressed", (button.dataset.status || null) === state.status);
  }
}
function toggle(c, node) {
  const opening = !open.has(c.latent);
  if (opening) { open.add(c.latent); node.after(evidenceRow(c)); } else { open.delete(c.latent); node.nextElementSibling.remove(); }
  node.classList.toggle("open", opening);
  node.querySelector("button").setAttribute("aria-expanded", opening);
  if (opening) history.replaceState(null, "", "#latent-" + c.latent);
}

// ---- one concept's evidence ----
function sentence(c) {
  if (c.status === "dead") return "Never active on held-out users, so there is nothing to test.";
  const cases = several(c.n_pos, "case", "cases") + " of " + several(c.n_users_pos, "user", "users");
  if (c.status === "untested") return "Active on only " + cases + " among held-out users: too few to test. That is neither right nor wrong.";
  const sure = known(c.ci_low) ? ", above " + score(c.ci_low) + SURE : "";
  return "Among held-out users it was active on " + cases + " and silent on " + count(c.n_neg)
    + ". When the label says that it is active, it is, " + percent(c.precision) + " of the time; the label finds "
    + percent(c.recall) + " of the active cases. Balanced accuracy " + score(c.balanced_accuracy) + sure + ".";
}
function scores(c) {
  const list = el("dl", { class: "scores" });
  const rows = [["balanced accuracy", score(c.balanced_accuracy)], ["above" + SURE, score(c.ci_low)],
    ["precision", percent(c.precision)], ["recall", percent(c.recall)], ["F1", score(c.f1)],
    ["specificity", percent(c.specificity)], ["specificity, hard cases", percent(c.hard_specificity)],
    ["ROC-AUC", score(c.auc)], ["average precision", score(c.average_precision)],
    ["chance percentile", known(c.chance_percentile) ? c.chance_percentile.toFixed(0) : "–"],
    ["active on", percent(c.fire_rate)], ["label from", c.labeler]];
  if (c.attribute) rows.push(["predicts by", c.attribute + (c.value ? " = " + c.value : "")]);
  if (c.predicate_site) rows.push(["read from", c.predicate_site]);
  if (known(c.threshold)) rows.push(["threshold", String(c.threshold)]);
  for (const [name, value] of rows) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return list;
}
function histogram(h) {
  const width = 320, height = 90, n = h.counts.length, top = Math.max(1, ...h.counts);
  const low = h.edges[0], span = h.edges[n] - low || 1;
  const x = (edge) => width * (edge - low) / span;
  const node = svg("svg", { viewBox: "0 0 320 112", class: "histogram", role: "img",
    "aria-label": "How strong the activations are, from " + low + " to " + h.edges[n] });
  h.counts.forEach((value, i) => {
    if (!value) return;
    const tall = Math.max(1, height * value / top);
    node.append(svg("rect", { x: x(h.edges[i]), y: height - tall, width: Math.max(1, x(h.edges[i + 1]) - x(h.edges[i]) - 1), height: tall },
      svg("title", {}, several(value, "case", "cases"))));
  });
  node.append(svg("line", { x1: 0, x2: width, y1: height + 0.5, y2: height + 0.5 }),
    svg("text", { x: 0, y: 106 }, score(low)), svg("text", { x: width, y: 106, "text-anchor": "end" }, score(h.edges[n])));
  return node;
}
function example(c, e) {
  const last = e.items.slice(-6);
  const chips = el("ol", { class: "history" });
  if (e.items.length > last.length) chips.append(el("li", { class: "more-items" }, "… " + (e.items.length - last.length) + " earlier"));
  for (const item of last) chips.append(el("li", { class: matches(c, item) ? "item match" : "item", title: about(item) }, title(item)));
  const top = el("b", { class: "top" + (matches(c, e.top) ? " match" : ""), title: about(e.top) }, title(e.top));
  chips.append(el("li", { class: "to" }, el("span", {}, "→ recommends"), top));
  const user = /^user /.test(e.user) ? e.user : "user " + e.user;
  return el("li", { class: "case" },
    el("p", { class: "meta" }, el("span", {}, user), el("span", {}, "activation " + score(e.activation)
      + (e.kind === "quantile" && known(e.quantile) ? ", quantile " + score(e.quantile) : ""))), chips);
}
function moves(c, list) {
  const top = Math.max(...list.map((pair) => Math.abs(pair[1] || 0)), 1e-12);
  const node = el("ol", { class: "moves" });
  for (const [item, weight] of list) {
    const bar = el("i", {});
    bar.style.width = 100 * Math.abs(weight || 0) / top + "%";
    node.append(el("li", matches(c, item) ? { class: "match" } : {}, el("span", { class: "title", title: about(item) }, title(item)),
      bar, el("span", { class: "weight" }, signed(weight))));
  }
  return node;
}
function evidence(c) {
  const left = el("div", {}), right = el("div", {}), heading = (text) => el("h3", {}, text);
  const link = el("a", { class: "link", href: "#latent-" + c.latent }, "latent " + c.latent);
  left.append(el("p", { class: "says-label" }, c.label), el("p", {}, sentence(c), " ", link));
  const kinds = [["top", "Where it is most active"], ["quantile", "From weak to strong"]];
  for (const [kind, name] of kinds) {
    const chosen = c.examples.filter((e) => e.kind === kind);
    if (chosen.length) left.append(heading(name), el("ol", { class: "examples" }, ...chosen.map((e) => example(c, e))));
  }
  right.append(heading("Scores"), scores(c));
  if (c.histogram && c.histogram.counts.length) right.append(heading("How strong the activations are"), histogram(c.histogram));
  if (c.promotes.length) right.append(heading("Items it promotes"), moves(c, c.promotes));
  if (c.demotes.length) right.append(heading("Items it demotes"), moves(c, c.demotes));
  if (c.value && c.attribute) left.append(el("p", { class: "small legend" }, "Underlined items: " + c.attribute + " = " + c.value + "."));
  return el("div", { class: "evidence" }, left, right);
}

// ---- controls ----
function sortBy(column, direction) {
  state.sort = column;
  state.direction = direction;
  byId("sortby").value = column ? column.id : "";
  draw();
}
function showLinked() {
  const found = /^#latent-(\d+)$/.exec(location.hash);
  const c = found && byLatent.get(Number(found[1]));
  if (!c) return;
  let place = selected().indexOf(c);
  if (place < 0) {
    Object.assign(state, { text: "", status: null, once: false });
    byId("search").value = "";
    byId("once").checked = false;
    place = selected().indexOf(c);
  }
  state.shown = Math.max(state.shown, Math.ceil((place + 1) / STEP) * STEP);
  open.add(c.latent);
  draw();
  byId("latent-" + c.latent).scrollIntoView({ behavior: "instant" });
}
function setUp() {
  const heads = el("tr");
  const options = [el("option", { value: "" }, "Most trusted first")];
  for (const column of COLUMNS) {
    const kind = column.minor ? "minor" : column.id === "status" ? "status-cell" : column.id;
    heads.append(el("th", { scope: "col", class: kind, "data-sort": column.id, title: column.tip || "" }, el("button", { type: "button" }, column.head)));
    options.push(el("option", { value: column.id }, "By " + column.head));
  }
  byId("table").tHead.append(heads);
  byId("sortby").append(...options);
  const present = STATUSES.filter((status) => concepts.some((c) => c.status === status));
  for (const status of [null, ...present]) {
    const n = status ? concepts.filter((c) => c.status === status).length : concepts.length;
    byId("filters").append(el("button", { type: "button", "data-status": status || "" }, (status || "all") + " " + count(n)));
  }
}
function listen() {
  const change = (update) => { Object.assign(state, { shown: STEP }, update); draw(); };
  byId("search").addEventListener("input", (event) => change({ text: event.target.value }));
  byId("once").addEventListener("change", (event) => change({ once: event.target.checked }));
  byId("sortby").addEventListener("change", (event) => {
    const column = COLUMNS.find((one) => one.id === event.target.value) || null;
    sortBy(column, column ? column.first : 1);
  });
  byId("filters").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) change({ status: button.dataset.status || null });
  });
  byId("more").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { state.shown = Number(button.dataset.show); draw(); }
  });
  byId("table").addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (head) {
      const column = COLUMNS.find((one) => one.id === head.dataset.sort);
      return sortBy(column, state.sort === column ? -state.direction : column.first);
    }
    const node = event.target.closest("tr.row");
    const selecting = !event.target.closest("button") && String(getSelection());
    if (node && !selecting) toggle(byLatent.get(Number(node.id.slice(7))), node);
  });
  addEventListener("hashchange", showLinked);
}
setUp();
listen();
draw();
showLinked();
})();
