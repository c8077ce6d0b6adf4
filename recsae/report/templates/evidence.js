
// ---- one concept's evidence, made when its card is opened ----
const heading = (text) => el("h3", {}, text);
function sentence(c) {
  if (c.status === "dead") return "Never active on held-out users, so there is nothing to test.";
  const cases = several(c.n_pos, "case", "cases") + " of " + several(c.n_users_pos, "user", "users");
  if (c.status === "untested") return "Active on only " + cases + " among held-out users: too few to test. That is neither right nor wrong.";
  const sure = (low) => (known(low) ? ", at least " + floored(low) + SURE : "");
  return "Among held-out users it was active on " + cases + " and silent on " + count(c.n_neg)
    + ". When the label says that it is active, it is, " + percent(c.precision) + " of the time" + sure(c.precision_low)
    + ". The label finds " + percent(c.recall) + " of the active cases" + sure(c.recall_low) + ".";
}
function corrected(c) {
  if (!c.correction) return null;
  const was = "tested as “" + c.tested_as + "”";
  if (c.correction !== "rejected") return "People " + c.correction + " it; " + was + ".";
  return "People rejected it; " + was + (c.rejected_because ? ". Their reason: " + c.rejected_because : ".");
}
function pairs(rows) {
  const list = el("dl", { class: "scores" });
  for (const [name, value, tip] of rows) {
    list.append(el("div", tip ? { title: tip } : {}, el("dt", {}, name), el("dd", {}, value)));
  }
  return list;
}
function scores(c) {
  return pairs([["precision", percent(c.precision), "How often the concept is active when the label says so"],
    ["precision at least" + SURE, floored(c.precision_low)],
    ["recall", percent(c.recall), "How many of the active cases the label finds"], ["recall at least" + SURE, floored(c.recall_low)],
    ["F1", score(c.f1), "One figure for precision and recall, their harmonic mean"],
    ["balanced accuracy", score(c.balanced_accuracy), "Mean of recall and specificity; 0.5 is a coin"], ["specificity", percent(c.specificity)], ["specificity, hard cases", percent(c.hard_specificity)],
    ["ROC-AUC", score(c.auc)], ["average precision", score(c.average_precision)],
    ["its words are near", score(c.embedding_auc), "ROC-AUC of how near the label’s words are to those of a sequence’s items; 0.5 is a coin. Nothing was chosen by it"],
    ["label made from", c.labeler], ["about the column", c.attribute ?? "–"], ["how it came about", c.origin === "core" ? "asked for (of the core)" : "found in training"]]);
}
function firing(c) {
  const rows = [["active on", percent(c.fire_rate), "Share of held-out cases"]];
  if (known(c.user_share)) rows.push(["users with any", percent(c.user_share), "Share of held-out users"]);
  if (known(c.mean_activation)) rows.push(["mean where active", score(c.mean_activation)]);
  return pairs(rows);
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
function sequence(c, [userAt, n, last, top, activation], detail) {
  const chips = el("ol", { class: "history" });
  if (n > last.length) chips.append(el("li", { class: "more-items" }, "… " + (n - last.length) + " earlier"));
  for (const item of last) chips.append(el("li", { class: "item" + matching(c, item), title: about(item) }, title(item)));
  const then = el("b", { class: "top" + matching(c, top), title: about(top) }, title(top));
  chips.append(el("li", { class: "to" }, el("span", {}, "→ recommends"), then));
  const name = data.users[userAt];
  return el("li", { class: "case" },
    el("p", { class: "meta" }, el("span", {}, /^user /.test(name) ? name : "user " + name),
      el("span", {}, (activation ? "strength " + score(activation) : "not active") + detail)), chips);
}
const folded = (name, ...parts) => el("details", {}, el("summary", {}, name), ...parts);
const examples = (list) => el("ol", { class: "examples" }, ...list);
const N_CASES = 2;
function sequences(c) {
  const parts = [], of = (list, kind) => list.filter((e) => e[0] === kind);
  const quantile = (q) => (known(q) ? ", stronger than " + Math.round(100 * q) + "% of its cases" : "");
  const top = of(c.examples, "top").map(([, q, ...rest]) => sequence(c, rest, quantile(q)));
  if (top.length) parts.push(heading("Where it is most active"), examples(top.slice(0, N_CASES)));
  if (top.length > N_CASES) parts.push(folded(several(top.length - N_CASES, "more such case", "more such cases"), examples(top.slice(N_CASES))));
  const further = of(c.examples, "quantile").map(([, q, ...rest]) => sequence(c, rest, quantile(q)));
  if (further.length) parts.push(folded("From strong to weak", examples(further)));
  const wrong = [["missed", "Should be active by its label, and is not"], ["unexpected", "Active, though its label says no"]];
  for (const [kind, name] of wrong) {
    const chosen = of(c.against, kind).map(([, why, ...rest]) => sequence(c, rest, "; the label: " + why));
    if (chosen.length) parts.push(folded(name, examples(chosen)));
  }
  return parts;
}
function moves(c, list) {
  const top = Math.max(...list.map((pair) => Math.abs(pair[1] || 0)), 1e-12);
  const node = el("ol", { class: "moves" });
  for (const [item, weight] of list) {
    const bar = el("i", {});
    bar.style.width = 100 * Math.abs(weight || 0) / top + "%";
    node.append(el("li", { class: matching(c, item).trim() }, el("span", { class: "title", title: about(item) }, title(item)),
      bar, el("span", { class: "weight", title: "How far one unit of the concept moves the item’s score" }, signed(weight))));
  }
  return node;
}
function together(c, kind) {
  const node = el("ul", { class: "together" });
  for (const [, latent, n, lift, phi] of c.together.filter((t) => t[0] === kind)) {
    const name = byLatent.has(latent) ? byLatent.get(latent).name : "latent " + latent;
    const often = lift >= 0.1 ? (lift < 10 ? lift.toPrecision(2) : lift.toFixed(0)) + " × chance" : "almost never";
    node.append(el("li", {}, el("a", { href: "#latent-" + latent, title: name }, name),
      el("span", { class: "weight", title: "both active on " + several(n, "case", "cases") + ", correlation " + score(phi) }, often)));
  }
  return node.children.length ? node : null;
}
const BACK = [["activity", "a latent active on the same cases"], ["label", "one of those, with its label"], ["direction", "its direction"]];
function comesBack(c) {
  const says = c.stable ? "Comes back with its label every time the dictionary was made again." : "Does not come back with its label every time the dictionary was made again.";
  const rows = BACK.filter(([level]) => known(c.back[level])).map(([level, name]) => el("li", {}, el("span", {}, name),
    el("span", { class: "weight" }, ofAgain(c.back[level]), known(data.again.chance[level]) ? el("span", {}, " (chance " + percent(data.again.chance[level]) + ")") : "")));
  return [el("p", { class: "small" }, says), el("ul", { class: "together" }, ...rows)];
}
function language(c) {
  const table = el("table", { class: "judged" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "judged blind"),
    el("th", { scope: "col" }, "its words"), el("th", { scope: "col" }, "the label"))));
  const body = table.createTBody();
  for (const [name, ours, theirs] of c.language.rows) {
    body.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, ours), el("td", {}, theirs)));
  }
  return [el("p", {}, el("b", {}, c.language.name), ". " + c.language.text), table];
}
function legend(c, ...places) {
  const shown = (kind) => places.some((node) => node.querySelector("." + kind));
  const parts = [["match", 0, "Underlined: "], ["match2", 1, "Dotted: "]].filter(([kind]) => shown(kind));
  return parts.map(([kind, place, name]) => el("span", {}, el("span", { class: kind }, name + data.values[c.says[place]][2]), ". "));
}
const STANDS = [["last", "as the last item"], ["last5", "among the last five"], ["top1", "as the first recommendation"]];
const times = (told) => count(told[2]) + " of " + count(told[3]);
function items(c, rows, tip) {
  const list = el("ul", { class: "together" });
  for (const [item, figure] of rows) {
    list.append(el("li", { class: matching(c, item).trim() }, el("span", { class: "title", title: about(item) }, title(item)), el("span", { class: "weight", title: tip }, figure)));
  }
  return list;
}
const N_ACTS = 3, N_PHRASES = 3;
// what the reader can act on: how right it is, what it follows, what it promotes
function acts(c) {
  const node = el("div", { class: "acts" });
  const bounds = (low) => (known(low) ? el("span", { class: "bound" }, "at least " + floored(low) + SURE) : "");
  const right = el("div", {}, heading("How right it is"));
  if (known(c.precision) && known(c.recall)) {
    right.append(el("p", {}, el("b", {}, percent(c.precision)), " right when it speaks (precision) ", bounds(c.precision_low)),
      el("p", {}, el("b", {}, percent(c.recall)), " of its cases found (recall) ", bounds(c.recall_low)));
  } else right.append(el("p", {}, c.right));
  node.append(right);
  const last = new Map(c.active.filter((told) => told[0] === "last").map((told) => [told[1], told]));
  const followed = c.follows.map((item) => [item, "active " + times(last.get(item)) + " times"]);
  if (followed.length) node.append(el("div", {}, heading("Titles it follows"), items(c, followed, "Held-out cases whose last item it is")));
  if (c.promotes.length) node.append(el("div", {}, heading("Titles it promotes"), moves(c, c.promotes.slice(0, N_ACTS))));
  return node;
}
function activeOn(c) {
  const parts = STANDS.flatMap(([view, words]) => {
    const told = c.active.filter((one) => one[0] === view).slice(0, N_PHRASES);
    return told.length ? [heading("With these " + words), items(c, told.map((one) => [one[1], times(one)]), "Held-out cases on which it is active, of all with the item there")] : [];
  });
  return el("details", {}, el("summary", {}, "Titles that tell where it is active"), ...parts);
}
function otherSide(c) {
  const says = c.side === "brings" ? "What it follows, as well as that can be said: " : "What it brings, as well as that can be said: ";
  return [says, el("b", {}, c.other.label), " (precision " + percent(c.other.precision) + ", recall " + percent(c.other.recall) + ")"];
}
// ---- readable and obeyed: whether turning does what the label says ----
const DOES = { yes: "yes", no: "no", "cannot be told": "unsure" };
const ONLY_READABLE = "Only readable: turning it was not seen to do what its label says.";
const onlyReadable = (c) => c.status === "verified" && known(c.obeyed) && c.obeyed !== "yes";
const share = (x) => (known(x) ? (x < 0.1 ? (100 * x).toPrecision(2) : (100 * x).toFixed(0)) + "%" : "–");
function obeyed(c) {
  const [predicted, step, before, up, down] = c.turned;
  const what = known(c.says[0]) ? data.values[c.says[0]][2] : "its items";
  const answer = { yes: "yes", no: "no, the opposite", "cannot be told": "that cannot be told" }[c.obeyed];
  return ["Turned up, do lists hold " + predicted + " items that are " + short(what, 90) + "? ", el("b", {}, answer.charAt(0).toUpperCase() + answer.slice(1)),
    ". Their share of the top 10 is " + share(up) + " with " + score(step) + " more of the concept for everybody, " + share(down) + " with as much less, and " + share(before) + " as it is"
    + (c.obeyed === "cannot be told" ? ": a difference that chance can make." : ".") + (onlyReadable(c) ? " " + ONLY_READABLE : "")];
}
function evidence(c) {
  const top = el("div", { class: "first" }), left = el("div", {}), right = el("div", {});
  const link = el("a", { class: "link", href: "#latent-" + c.latent }, "latent " + c.latent);
  top.append(el("p", { class: "says-label" }, c.label));
  if (!known(c.attribute)) top.append(el("p", { class: "small" }, "Its label makes no statement about items, only that it is active on most histories."));
  if (corrected(c)) top.append(el("p", { class: "corrected" }, corrected(c)));
  top.append(acts(c));
  if (c.other) top.append(el("p", { class: "small other-side" }, ...otherSide(c)));
  if (c.turned) top.append(el("p", { class: "small obeyed" }, ...obeyed(c)));
  top.append(el("p", { class: "small says-tested" }, sentence(c), " ", link));
  if (c.language) left.append(heading("What a language model says"), ...language(c));
  left.append(...sequences(c));
  if (c.active.length) left.append(activeOn(c));
  for (const [kind, name] of [["with", "Active together with"], ["instead", "Active instead of it"]]) {
    const others = together(c, kind);
    if (others) right.append(heading(name), others);
  }
  if (c.promotes.length > N_ACTS) right.append(folded("All items it promotes", moves(c, c.promotes)));
  if (c.demotes.length) right.append(folded("Items it demotes", moves(c, c.demotes)));
  if (c.back && data.again) right.append(folded("Does it come back?", ...comesBack(c)));
  right.append(folded("All scores of the label", scores(c)));
  const often = [firing(c)];
  if (c.histogram && c.histogram.counts.length) often.push(heading("How strong it is (activations)"), histogram(c.histogram));
  right.append(folded("How often it is active", ...often));
  const marks = legend(c, top, left, right);
  if (marks.length) left.append(el("p", { class: "small legend" }, ...marks));
  return el("div", { class: "evidence" }, top, left, right);
}
