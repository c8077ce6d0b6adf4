
// ---- concepts turned, and lists made here ----
if (data.turn) {
  const t = data.turn;
  function integers(rounded) {
    if (rounded.kind === "int8") return unpacked(rounded.values, Int8Array);
    if (rounded.kind === "int16") return unpacked(rounded.values, Int16Array);
    const low = unpacked(rounded.values, Uint8Array), found = new Int32Array(low.length / 3);
    // the last of three bytes has the sign
    for (let i = 0, at = 0; i < found.length; i += 1, at += 3) found[i] = low[at] | (low[at + 1] << 8) | ((low[at + 2] << 24) >> 8);
    return found;
  }
  const width = t.vectors.d, N_ITEMS = t.items.length, N_HISTORY = 10, N_FOUND = 8, N_ACTIVE = 5;
  const vectors = integers(t.vectors), scales = unpacked(t.vectors.scales, Float32Array);
  const directions = integers(t.directions), sizes = unpacked(t.directions.scales, Float32Array);
  const bias = t.bias ? unpacked(t.bias, Float32Array) : null, states = unpacked(t.states, Float32Array);
  const placeOfLatent = new Map(t.latents.map((latent, place) => [latent, place]));
  const now = t.samples.map((sample) => new Map(sample[2]));
  const nameOf = (latent) => (byLatent.get(latent) || { name: "latent " + latent }).name;
  const OWN = -1; // the history that the reader puts together
  const chosen = { sample: 0, mask: t.masks_seen, shown: [...t.first], values: new Map(), find: "" };
  const placeOf = new Map(t.items.map((item, place) => [item, place]));
  const mine = { history: null, run: null, state: null, active: null };
  const itemsOf = (sample) => (sample === OWN ? mine.history.places.map((place) => t.items[place]) : t.samples[sample][1]);
  const nothing = () => chosen.sample === OWN && !mine.history.places.length;

  // ---- scores: (state + (z' - z) direction) item + bias ----
  function products(vector) {
    const found = new Float64Array(N_ITEMS);
    for (let i = 0, at = 0; i < N_ITEMS; i += 1) {
      let sum = 0;
      for (let k = 0; k < width; k += 1, at += 1) sum += vectors[at] * vector[k];
      found[i] = sum * scales[i];
    }
    return found;
  }
  const remembered = new Map();
  function once(key, make) {
    if (!remembered.has(key)) remembered.set(key, make());
    return remembered.get(key);
  }
  function scored(state) {
    const scores = products(state);
    if (bias) for (let i = 0; i < N_ITEMS; i += 1) scores[i] += bias[i];
    return scores;
  }
  const unturned = (sample) => (sample === OWN ? scored(mine.state) : once("state " + sample, () => scored(states.subarray(sample * width, (sample + 1) * width))));
  const effect = (latent) => once("latent " + latent, () => {
    const place = placeOfLatent.get(latent), vector = Float64Array.from(directions.subarray(place * width, (place + 1) * width));
    return products(vector.map((x) => x * sizes[place]));
  });
  const activation = (latent) => (chosen.sample === OWN ? (mine.active ? mine.active[latent] : 0) : now[chosen.sample].get(latent) || 0);
  const rowOf = (values, sizes, d) => (place) => Float64Array.from(values.subarray(place * d, (place + 1) * d), (x) => x * sizes[place]);
  const matrix = (rounded) => rowOf(integers(rounded), unpacked(rounded.scales, Float32Array), rounded.d);
  function think() {
    mine.run = mine.run || forwardOf(t.forward, rowOf(vectors, scales, width), matrix);
    [mine.state, mine.active] = nothing() ? [null, null] : mine.run(mine.history.places);
  }
  function best(scores, seen) {
    const list = [];
    for (let i = 0; i < N_ITEMS; i += 1) {
      if (seen.has(t.items[i])) continue;
      let place = list.length;
      while (place > 0 && scores[list[place - 1]] < scores[i]) place -= 1;
      if (place >= t.list_length) continue;
      list.splice(place, 0, i);
      if (list.length > t.list_length) list.pop();
    }
    return list.map((i) => t.items[i]);
  }
  function lists() {
    const before = unturned(chosen.sample), after = Float64Array.from(before);
    for (const [latent, value] of chosen.values) {
      const change = value - activation(latent), moves = effect(latent);
      if (change) for (let i = 0; i < N_ITEMS; i += 1) after[i] += change * moves[i];
    }
    const seen = new Set(chosen.mask ? itemsOf(chosen.sample) : []);
    return [best(before, seen), best(after, seen)];
  }

  // ---- the list, the command and the file ----
  function moved(item, place, before) {
    const was = before.indexOf(item);
    if (was === place) return "";
    const said = was < 0 ? "new" : "was " + (was + 1);
    return el("span", { class: was < 0 ? "mark new" : "mark" }, said);
  }
  function drawLists() {
    const [before, after] = nothing() ? [[], []] : lists();
    const rows = after.map((item, place) => {
      const old = before[place], change = moved(item, place, before);
      return el("tr", {}, el("td", {}, String(place + 1)),
        el("td", after.includes(old) ? {} : { class: "gone" }, title(old)), el("td", change ? { class: "moved" } : {}, title(item), change));
    });
    byId("turn-list").replaceChildren(...rows);
    const fresh = after.filter((item) => !before.includes(item)).length;
    const same = after.every((item, place) => item === before[place]);
    byId("turn-says").textContent = nothing() ? "There is no list before the first item." : !chosen.values.size ? "Nothing is turned: the list is the model’s own."
      : same ? "The list stays as it is." : fresh ? several(fresh, "item is new", "items are new") + "; as many have left the list." : "The same items in another order.";
    byId("turn-now").textContent = nothing() ? "" : "First now: " + after.slice(0, 3).map((item, place) => place + 1 + ". " + short(title(item), 28)).join("  ");
    const can = chosen.values.size && !nothing();
    byId("turn-command").textContent = can ? command() : "Nothing is turned yet.";
    byId("turn-where").textContent = chosen.sample !== OWN && t.users_hidden && !bySequence() ? "In the terminal, for all held-out users" : "The same in the terminal";
    byId("turn-copy").disabled = !can;
    for (const id of ["turn-save", "turn-reset"]) byId(id).disabled = !chosen.values.size;
    byId("turn-done").textContent = "";
  }
  const folder = () => (!t.users_hidden && folderOfPage() ? shellWord(folderOfPage()) : "FOLDER");
  // a user without a name has the same list by the items of the history, if all of them are here
  const bySequence = () => chosen.sample === OWN || (t.users_hidden && !t.histories_cut && t.same_typed);
  function command() {
    const typed = () => itemsOf(chosen.sample).slice(-t.reads).flatMap((item) => ["--sequence", shellWord(t.ids[item])]);
    const whose = bySequence() ? typed() : t.users_hidden ? [] : ["--user", shellWord(t.samples[chosen.sample][0])];
    const settings = [...chosen.values].flatMap(([latent, value]) => ["--set", "'" + latent + "=" + value + "'"]);
    return ["recsae", "steer", folder(), ...settings, ...whose, ...(chosen.mask && !t.masks_seen && whose.length ? ["--mask-seen"] : [])].join(" ");
  }
  function steeringFile() {
    const steps = [...chosen.values].map(([latent, value]) => ({ latents: [latent], op: "set", value, name: nameOf(latent), where: "everyone" }));
    return JSON.stringify({ version: 1, model: t.model, sae: t.sae, site: t.site, steps, users: null, cohort: null, goal: null }, null, 1) + "\n";
  }
  async function copyCommand() {
    try {
      await navigator.clipboard.writeText(command());
      byId("turn-done").textContent = "Copied.";
    } catch (refused) {
      getSelection().selectAllChildren(byId("turn-command"));
      byId("turn-done").textContent = "The command is selected: copy it with the keyboard.";
    }
  }
  function save() {
    const address = URL.createObjectURL(new Blob([steeringFile()], { type: "application/json" }));
    const link = el("a", { href: address, download: "steering.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    byId("turn-done").textContent = "Saved as steering.json, for everybody. Use it with: recsae steer " + folder() + " --with PATH/steering.json";
  }

  // ---- histories ----
  const line = (place) => (t.users_hidden ? "" : "user ") + t.samples[place][0] + ": " + short(t.samples[place][1].slice(-3).reverse().map(title).join(", "), 70);
  function drawSamples() {
    const words = wordsOf(unaccented(chosen.find));
    const fits = t.samples.map((sample, place) => place).filter((place) => t.samples[place][1].some((item) => says([unaccented(title(item))], words)));
    const shown = fits.length || chosen.sample === OWN ? fits : [chosen.sample]; // the list is still of somebody
    const own = t.forward ? [el("option", { value: OWN }, "A history of your own")] : [];
    byId("turn-sample").replaceChildren(...own, ...shown.map((place) => el("option", { value: place }, line(place))));
    byId("turn-none").textContent = fits.length ? "" : "No history here has “" + short(chosen.find, 40) + "”." + (chosen.sample === OWN ? "" : " The list is still of the one chosen before.");
    if (fits.length && chosen.sample !== OWN && !fits.includes(chosen.sample)) choose(fits[0]);
    byId("turn-sample").value = String(chosen.sample);
  }
  function choose(sample) {
    chosen.sample = sample;
    byId("turn-own").hidden = sample !== OWN;
    byId("turn-history").hidden = sample === OWN;
    byId("turn-change").hidden = sample === OWN || !t.forward || t.histories_cut || !itemsOf(sample).some((item) => placeOf.has(item));
    const items = sample === OWN ? [] : itemsOf(sample), earlier = items.length - N_HISTORY;
    byId("turn-history").replaceChildren(
      ...(earlier > 0 ? [el("li", { class: "more-items" }, count(earlier) + " earlier …")] : []),
      ...items.slice(-N_HISTORY).map((item) => el("li", { title: about(item) }, title(item))));
    redraw();
  }
  function redraw() {
    drawSliders();
    found();
    drawLists();
  }

  // ---- sliders: untouched ones stand where the history has them ----
  function range(latent) {
    const most = Math.max(t.most[placeOfLatent.get(latent)], activation(latent), 1e-6);
    const decimals = Math.max(0, 2 - Math.floor(Math.log10(most)) - 1);
    const step = 10 ** -decimals, end = (Math.ceil((1.5 * most) / step) * step).toFixed(decimals);
    return { min: "-" + end, max: end, step: step.toFixed(decimals), decimals };
  }
  const three = (x) => Number(x.toPrecision(3));
  function said(latent) {
    const value = chosen.values.get(latent), as = three(activation(latent));
    return value === undefined ? (as ? as + ", as it is" : "not active") : value + " (as it is: " + as + ")";
  }
  // the histories that the quantiles are of never go there
  function beyond(latent) {
    const value = chosen.values.get(latent);
    return value < 0 ? "pushed below off: beyond what occurs" : value > three(t.most[placeOfLatent.get(latent)]) ? "more than ever occurs" : "";
  }
  // where off, the usual and the most lie, as the middle of the knob goes
  function scale(latent, end) {
    const place = placeOfLatent.get(latent), marks = [["off", 0], ["usual", t.usual[place]], ["most", t.most[place]]];
    const tick = ([, value]) => {
      const node = el("i", {}), share = (value / end + 1) / 2;
      node.style.left = "calc(8px + (100% - 16px) * " + share + ")";
      return node;
    };
    const text = marks.map(([words, value]) => (value || words === "off" ? words + " " + three(value) : "")).filter(Boolean).join(" · ");
    return el("span", { class: "scale", title: "Activations of the concept on the histories that it was made from: not active, the median where it is, and the largest" }, el("span", { class: "ticks", "aria-hidden": "true" }, ...marks.map(tick)), text, el("span", { class: "beyond" }));
  }
  function mark(latent) {
    const node = byId("turn-" + latent).closest("li"), value = chosen.values.get(latent);
    node.classList.toggle("turned", value !== undefined);
    node.querySelector("output").textContent = said(latent);
    const far = beyond(latent);
    byId("turn-" + latent).setAttribute("aria-valuetext", said(latent) + (far && ", " + far));
    node.querySelector(".beyond").textContent = far && " – " + far;
    node.querySelector("[data-does=back]").disabled = value === undefined;
    node.querySelector("[data-does=off]").disabled = value === undefined && !activation(latent);
  }
  function slider(latent) {
    const id = "turn-" + latent, { min, max, step } = range(latent), name = nameOf(latent);
    const button = (does, words) => el("button", { type: "button", "data-does": does, "data-latent": latent, "aria-label": words + ": " + name }, words);
    const input = el("input", { id, type: "range", min, max, step, "data-latent": latent });
    input.value = String(chosen.values.get(latent) ?? activation(latent));
    return el("li", {}, el("label", { for: id }, name, " ", el("a", { href: "#latent-" + latent, class: "link" }, "evidence")), el("output", { for: id }), input,
      scale(latent, Number(max)),
      el("span", { class: "does" }, button("off", "Off"), button("back", "As it is"), button("remove", "Remove")),
      onlyReadable(byLatent.get(latent) ?? {}) ? el("span", { class: "only" }, ONLY_READABLE) : "");
  }
  function drawSliders() {
    byId("turn-sliders").replaceChildren(...chosen.shown.map(slider));
    chosen.shown.forEach(mark);
  }
  function turn(latent, value) {
    if (value === undefined) chosen.values.delete(latent);
    else chosen.values.set(latent, value);
    byId("turn-" + latent).value = String(value ?? activation(latent));
    mark(latent);
    drawLists();
  }
  function remove(latent) {
    const place = chosen.shown.indexOf(latent);
    chosen.shown.splice(place, 1);
    chosen.values.delete(latent);
    drawSliders();
    found();
    drawLists();
    const next = chosen.shown[Math.min(place, chosen.shown.length - 1)];
    (next === undefined ? byId("turn-add") : byId("turn-" + next)).focus();
  }
  const offer = (latent, words) => el("li", {}, el("button", { type: "button", "data-latent": latent }, nameOf(latent)), el("span", { class: "small" }, " " + words));
  // the concepts most active on the history, by how far they can be, that have no slider yet
  function activeHere() {
    const part = (latent) => activation(latent) / t.most[placeOfLatent.get(latent)];
    const there = t.latents.filter((latent) => byLatent.get(latent)?.status === "verified" && activation(latent) > 0 && !chosen.shown.includes(latent));
    there.sort((a, b) => part(b) - part(a));
    const buttons = there.slice(0, N_ACTIVE).map((latent) => offer(latent, three(activation(latent))));
    return buttons.length ? [el("li", { class: "small" }, "Active on this history:"), ...buttons] : [];
  }
  function found() {
    const words = wordsOf(byId("turn-add").value), number = /^\s*(?:latent\s*|#\s*)?(\d+)\s*$/i.exec(byId("turn-add").value);
    const isNumber = (latent) => number && latent === Number(number[1]);
    // as the table of concepts searches: names, labels, and items that a concept brings forward
    const fits = !words.length ? [] : t.latents.filter((latent) => byLatent.has(latent)
      && (isNumber(latent) || words.every((word) => begins(haystack.get(latent), word))));
    const near = new Map(fits.map((latent) => [latent, isNumber(latent) ? -1 : nearness(byLatent.get(latent), words)]));
    fits.sort((a, b) => near.get(a) - near.get(b) || byTrust(byLatent.get(a), byLatent.get(b)));
    const has = (latent) => (chosen.shown.includes(latent) ? ", has a slider" : "");
    const buttons = fits.slice(0, N_FOUND).map((latent) => offer(latent, standing(byLatent.get(latent)) + has(latent)));
    if (!words.length) buttons.push(...activeHere());
    if (words.length && !fits.length) buttons.push(el("li", { class: "small" }, "No concept here has these words."));
    if (fits.length > N_FOUND) buttons.push(el("li", { class: "small" }, "and " + count(fits.length - N_FOUND) + " more"));
    byId("turn-found").replaceChildren(...buttons);
  }
  function add(latent) {
    if (!chosen.shown.includes(latent)) chosen.shown.push(latent);
    byId("turn-add").value = "";
    found();
    drawSliders();
    byId("turn-" + latent).focus();
  }

  // ---- controls ----
  function listenTurn() {
    const latentOf = (event, what) => { const node = event.target.closest(what); return node ? Number(node.dataset.latent) : null; };
    byId("turn-sample").addEventListener("change", (event) => choose(Number(event.target.value)));
    byId("turn-find").addEventListener("input", (event) => { chosen.find = event.target.value.trim(); drawSamples(); });
    byId("turn-change").addEventListener("click", () => {
      const items = itemsOf(chosen.sample).filter((item) => placeOf.has(item));
      mine.history.set(items.map((item) => placeOf.get(item)));
      choose(OWN);
      drawSamples();
      byId("own-add").focus();
    });
    byId("turn-mask").addEventListener("change", (event) => { chosen.mask = event.target.checked; drawLists(); });
    byId("turn-sliders").addEventListener("input", (event) => turn(latentOf(event, "input"), Number(event.target.value)));
    byId("turn-sliders").addEventListener("click", (event) => {
      const latent = latentOf(event, "button");
      if (latent === null) return;
      const does = event.target.closest("button").dataset.does;
      if (does === "remove") remove(latent);
      else turn(latent, does === "off" ? 0 : undefined);
    });
    byId("turn-add").addEventListener("input", found);
    byId("turn-add").addEventListener("keydown", (event) => {
      const first = byId("turn-found").querySelector("button");
      if (event.key === "Enter" && first) add(Number(first.dataset.latent));
    });
    byId("turn-found").addEventListener("click", (event) => { const latent = latentOf(event, "button"); if (latent !== null) add(latent); });
    byId("turn-reset").addEventListener("click", () => { chosen.values.clear(); redraw(); });
    byId("turn-copy").addEventListener("click", copyCommand);
    byId("turn-save").addEventListener("click", save);
  }
  if (t.forward) mine.history = ownHistory(t.items, t.ids, t.forward.length, () => { think(); if (chosen.sample === OWN) redraw(); });
  byId("turn-mask").checked = chosen.mask;
  byId("turn-mask").disabled = t.masks_seen;
  // first the history on which most of the sliders' concepts are active
  const busy = now.map((active) => t.first.filter((latent) => active.has(latent)).length);
  choose(busy.indexOf(Math.max(...busy)));
  drawSamples();
  listenTurn();
}
