
// ---- a history that the reader puts together ----
// words are looked for where they begin, without regard to case and accents
const unaccented = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
// `items` are places in the page of what can be put in, `ids` what they are called elsewhere;
// `changed` is called with every change
function ownHistory(items, ids, length, changed) {
  const N_FOUND = 8, own = [], plain = items.map((item) => unaccented(title(item)));
  const often = new Map();
  for (const item of items) often.set(title(item), (often.get(title(item)) || 0) + 1);
  const called = (place) => title(items[place]) + (often.get(title(items[place])) > 1 ? " (item " + ids[items[place]] + ")" : "");
  let pending = "";
  function found() {
    const words = wordsOf(unaccented(byId("own-add").value));
    const fits = words.length ? items.map((item, place) => place).filter((place) => says([plain[place]], words)) : [];
    // titles that begin with what is typed come first, and of them the shortest
    const begun = (place) => (plain[place].startsWith(words[0]) ? 0 : 1);
    fits.sort((a, b) => begun(a) - begun(b) || plain[a].length - plain[b].length || a - b);
    const buttons = fits.slice(0, N_FOUND).map((place) => el("li", {}, el("button", { type: "button", "data-place": place, title: about(items[place]) }, called(place))));
    if (words.length && !fits.length) buttons.push(el("li", { class: "small" }, "No item here is called that."));
    if (fits.length > N_FOUND) buttons.push(el("li", { class: "small" }, "and " + count(fits.length - N_FOUND) + " more: type more of the title"));
    byId("own-found").replaceChildren(...buttons);
  }
  function draw() {
    byId("own-items").replaceChildren(...own.map((place, at) => {
      const name = called(place);
      const button = (does, sign, words, off) => {
        const node = el("button", { type: "button", "data-does": does, "data-at": at, "aria-label": words + ": " + name, title: words }, sign);
        node.disabled = off;
        return node;
      };
      return el("li", at < own.length - length ? { class: "unread" } : {}, el("span", {}, name), el("span", { class: "does" },
        button("earlier", "↑", "Move earlier", at === 0), button("later", "↓", "Move later", at === own.length - 1), button("remove", "×", "Take out", false)));
    }));
    const unread = own.length - length;
    byId("own-says").textContent = pending + (!own.length ? "Add at least one item; the oldest comes first." : unread > 0 ? "The model reads the last " + count(length) + " items: the first " + (unread === 1 ? "one does" : count(unread) + " do") + " not count." : "");
    byId("own-clear").disabled = !own.length;
    pending = "";
  }
  function set(places, says) {
    own.splice(0, own.length, ...places);
    pending = says ? says + " " : "";
    draw();
    changed();
  }
  function add(place) {
    byId("own-add").value = "";
    found();
    set([...own, place], "Added: " + called(place) + ".");
    byId("own-add").focus();
  }
  function change(does, at) {
    const next = [...own], [place] = next.splice(at, 1), to = does === "earlier" ? at - 1 : at + 1;
    if (does !== "remove") next.splice(to, 0, place);
    set(next, does === "remove" ? "Taken out: " + called(place) + "." : "");
    const stays = does === "remove" ? Math.min(at, own.length - 1) : to;
    const row = byId("own-items").children[stays];
    const button = row && (row.querySelector("[data-does=" + does + "]:enabled") || row.querySelector("button:enabled"));
    (button || byId("own-add")).focus();
  }
  byId("own-add").addEventListener("input", found);
  byId("own-add").addEventListener("keydown", (event) => {
    const first = byId("own-found").querySelector("button");
    if (event.key === "Enter" && first) add(Number(first.dataset.place));
  });
  byId("own-found").addEventListener("click", (event) => { const node = event.target.closest("button"); if (node) add(Number(node.dataset.place)); });
  byId("own-items").addEventListener("click", (event) => { const node = event.target.closest("button"); if (node) change(node.dataset.does, Number(node.dataset.at)); });
  byId("own-clear").addEventListener("click", () => { set([]); byId("own-add").focus(); });
  draw();
  return { places: own, set };
}
