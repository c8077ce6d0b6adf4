
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
    Object.assign(state, { text: "", status: null, kind: null, once: false });
    byId("search").value = "";
    byId("once").checked = false;
    place = selected().indexOf(c);
  }
  if (place >= state.shown) state.shown = Math.ceil((place + 1) / STEP) * STEP;
  opened = c.latent;
  draw();
  byId("latent-" + c.latent).scrollIntoView({ behavior: "instant" });
}
// ---- folded sections, and commands to copy ----
function unfold(node) {
  if (!node || !node.closest("details:not([open])")) return;
  for (let fold = node.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  node.scrollIntoView({ behavior: "instant" });
}
const unfoldLinked = () => location.hash.length > 1 && unfold(byId(decodeURIComponent(location.hash.slice(1))));
function nameTheRun() {
  const folder = folderOfPage();
  if (!folder) return;
  for (const code of document.querySelectorAll(".to-copy code")) {
    const words = code.textContent.replace(" RUN", () => " " + shellWord(folder)).split(" ");
    code.replaceChildren(...words.flatMap((word, n) => [n ? " " : "", el("span", {}, word)]));
  }
}
async function copy(button) {
  const code = button.previousElementSibling;
  getSelection().selectAllChildren(code);  // to be copied by hand where the page has no right to
  await navigator.clipboard.writeText(code.textContent);
  button.textContent = "Copied";
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
  const present = STATUSES.filter((status) => concepts.some((c) => standing(c) === status));
  for (const status of [null, ...present]) {
    const n = status ? concepts.filter((c) => standing(c) === status).length : concepts.length;
    byId("filters").append(el("button", { type: "button", "data-status": status || "" }, (status || "all") + " " + count(n)));
  }
  for (const [kind, name] of [["", "all kinds"], ...KINDS]) {
    const n = kind ? concepts.filter((c) => c.kind === kind).length : concepts.length;
    if (n) byId("kinds").append(el("button", { type: "button", "data-kind": kind }, name + " " + count(n)));
  }
  nameTheRun();
}
function listen() {
  const change = (update) => { Object.assign(state, { shown: FIRST }, update); draw(); };
  byId("search").addEventListener("input", (event) => change({ text: event.target.value }));
  byId("once").addEventListener("change", (event) => change({ once: event.target.checked }));
  byId("sortby").addEventListener("change", (event) => {
    const column = COLUMNS.find((one) => one.id === event.target.value) || null;
    sortBy(column, column ? column.first : 1);
  });
  for (const [group, key] of [["filters", "status"], ["kinds", "kind"]]) {
    byId(group).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) change({ [key]: button.dataset[key] || null });
    });
  }
  byId("elsewhere").addEventListener("click", (event) => {
    if (event.target.closest("[data-clear]")) change({ status: null, kind: null });
    const near = event.target.closest("[data-near]");
    if (!near) return;
    byId("search").value = near.dataset.near;
    change({ text: near.dataset.near });
    byId("search").focus();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button).catch(() => {});
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    unfold(byId(link.getAttribute("href").slice(1)));
    if (link.getAttribute("href") === location.hash) showLinked(); // no hashchange comes
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details.fold, details.part, .evidence details").forEach((fold) => { fold.open = true; }));
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
  addEventListener("hashchange", () => { showLinked(); unfoldLinked(); });
}
setUp();
listen();
draw();
showLinked();
unfoldLinked();
