
// ---- the map of concepts ----
if (byId("map")) {
  const KINDS = {
    theme: "theme: what items are", item: "item: single items",
    situation: "situation: how the history is", general: "general: nearly always active",
  };
  const SPREAD = { theme: 1, item: Math.sqrt(Math.PI) / 2, situation: 1.35, general: 1.25 };
  const WIDE = 640, MARGIN = 26, LETTERS = 34;
  const places = data.concepts.filter((c) => known(c.x) && c.correction !== "rejected").sort((a, b) => (b.explains ?? 0) - (a.explains ?? 0) || a.latent - b.latent);
  const worth = (c) => (c.explains ?? 0) * (c.f1 ?? 0);
  const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
  const kindOf = (c) => c.kind || "theme";
  const brief = (name) => (name.length > LETTERS ? name.slice(0, LETTERS - 1).trimEnd() + "…" : name);
  const says = (c) => c.name + " (" + kindOf(c) + "): explains " + percent(c.explains) + " of the scores by itself";
  const HINT = "Tap or click a mark for its evidence. With a keyboard, arrow keys go from mark to mark and Enter opens it.";
  let at = 0, marks = [], width = 0;

  // marks of one size have about the same area, whatever their shape
  function outline(kind, radius) {
    const r = radius * SPREAD[kind];
    if (kind === "item") return `M${-r} ${-r}H${r}V${r}H${-r}Z`;
    if (kind === "situation") return `M0 ${-r}L${0.95 * r} ${0.75 * r}H${-0.95 * r}Z`;
    if (kind === "general") return `M0 ${-r}L${r} 0L0 ${r}L${-r} 0Z`;
    return `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`;
  }
  function drawMap() {
    width = Math.max(280, Math.round(byId("map-marks").clientWidth));
    const wide = width >= WIDE, height = wide ? Math.round(0.58 * width) : Math.round(1.15 * width);
    const most = Math.max(...places.map((c) => c.explains ?? 0)) || 1, biggest = wide ? 15 : 10;
    const half = [width / 2 - MARGIN, height / 2 - MARGIN];
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Map of " + several(places.length, "verified concept", "verified concepts") + ". " + HINT + " The table below it has the same." });
    const boxes = [];
    marks = places.map((c, place) => {
      const r = Math.max(3.5, biggest * Math.sqrt((c.explains ?? 0) / most));
      const x = width / 2 + c.x * half[0], y = height / 2 - c.y * half[1], kind = kindOf(c);
      boxes.push([x - r, y - r, x + r, y + r]);
      const mark = svg("a", { href: "#latent-" + c.latent, class: "kind-" + kind, tabindex: place === at ? 0 : -1, "aria-label": says(c), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
        svg("path", { d: outline(kind, r) }), svg("title", {}, says(c)));
      picture.append(mark);
      return { c, x, y, r, mark };
    });
    byId("map-marks").replaceChildren(picture);
    label(picture, boxes, wide ? 16 : 7, height);
  }
  // a label goes where it covers no mark and no other label, or nowhere
  function label(picture, boxes, most, height) {
    const taken = [...boxes], named = new Set();
    for (const { c, x, y, r } of [...marks].sort((a, b) => worth(b.c) - worth(a.c))) {
      if (named.size >= most) return;
      if (named.has(c.key)) continue;
      const text = svg("text", { "aria-hidden": "true" }, brief(c.name));
      picture.append(text);
      const w = text.getComputedTextLength(), h = 13;
      const spots = [[x + r + 4, y - h / 2], [x - r - 4 - w, y - h / 2], [x - w / 2, y - r - 3 - h], [x - w / 2, y + r + 3]];
      const free = spots.find(([left, top]) => left >= 2 && top >= 2 && left + w <= width - 2 && top + h <= height - 2
        && taken.every((b) => left > b[2] + 1 || left + w < b[0] - 1 || top > b[3] || top + h < b[1]));
      if (!free) { text.remove(); continue; }
      text.setAttribute("x", free[0].toFixed(1));
      text.setAttribute("y", (free[1] + 10.5).toFixed(1));
      taken.push([free[0], free[1], free[0] + w, free[1] + h]);
      named.add(c.key);
    }
  }
  function go(key) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    const here = marks[at];
    const cost = (m) => {
      const along = (m.x - here.x) * dx + (m.y - here.y) * dy;
      const aside = Math.abs((m.x - here.x) * dy) + Math.abs((m.y - here.y) * dx);
      return m !== here && along > 0 ? along + 2.5 * aside : Infinity;
    };
    const best = marks.reduce((a, b) => (cost(b) < cost(a) ? b : a));
    if (cost(best) < Infinity) best.mark.focus();
  }
  const markOf = (event) => { const link = event.target.closest("a"); return marks.findIndex((m) => m.mark === link); };
  function show(event) {
    const place = markOf(event);
    if (place < 0) return;
    byId("map-says").textContent = says(marks[place].c) + ".";
    if (event.type !== "focusin") return;
    marks[at].mark.setAttribute("tabindex", -1);
    at = place;
    marks[at].mark.setAttribute("tabindex", 0);
  }
  function mapTable() {
    const body = el("tbody");
    for (const c of [...places].sort((a, b) => worth(b) - worth(a))) {
      const close = places.filter((o) => o !== c).sort((a, b) => apart(a, c) - apart(b, c)).slice(0, 3);
      const names = close.flatMap((o, i) => [i ? "; " : "", el("a", { href: "#latent-" + o.latent }, o.name)]);
      body.append(el("tr", {}, el("td", {}, el("a", { href: "#latent-" + c.latent }, c.name)), el("td", {}, kindOf(c)), el("td", {}, percent(c.explains)), el("td", {}, ...names)));
    }
    const heads = ["concept", "kind", "explains", "closest on the map"].map((h) => el("th", { scope: "col" }, h));
    byId("map-table").append(el("thead", {}, el("tr", {}, ...heads)), body);
  }
  function listenMap() {
    const canvas = byId("map-marks");
    for (const type of ["pointerover", "focusin"]) canvas.addEventListener(type, show);
    canvas.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow") || markOf(event) < 0) return;
      event.preventDefault();
      go(event.key);
    });
    new ResizeObserver(() => { if (canvas.clientWidth !== width) drawMap(); }).observe(canvas);
  }
  for (const [kind, words] of Object.entries(KINDS)) {
    const n = places.filter((c) => kindOf(c) === kind).length;
    if (n) byId("map-legend").append(el("li", { class: "kind-" + kind }, svg("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, svg("path", { d: outline(kind, 6) })), words + " (" + count(n) + ")"));
  }
  byId("map-says").textContent = HINT;
  drawMap();
  mapTable();
  listenMap();
}
