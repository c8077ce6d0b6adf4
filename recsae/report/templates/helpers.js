// Text from the data set only ever becomes a text node or an attribute's value: no markup here.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const STATUSES = ["verified", "supported", "unsupported", "untested", "dead", "rejected"];
const FIRST = 12, STEP = 25;
const SURE = typeof data.level === "number" ? " (" + 100 * data.level + "% sure)" : "";
const ASKED = typeof data.threshold === "number" ? 100 * data.threshold + "%" : "more";
const known = (value) => value !== undefined && value !== null;

// ---- making elements ----
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

// ---- what is typed, and command lines ----
const wordsOf = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
const shellWord = (text) => (/^[\w.\/=-]+$/.test(text) ? text : "'" + text.replace(/'/g, "'\\''") + "'");
// where the page lies, if it was opened as a file
function folderOfPage() {
  const found = location.protocol === "file:" && /^(\/.*)\/[^\/]*$/.exec(decodeURIComponent(location.pathname));
  return found ? found[1] : "";
}

// ---- figures in words ----
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const score = (x) => (known(x) ? x.toFixed(2) : "–");
const signed = (x) => (known(x) ? (x < 0 ? "−" : "+") + Math.abs(x).toPrecision(2) : "–");
const several = (n, one, many) => count(n) + " " + (n === 1 ? one : many);
function percent(x) {
  if (!known(x)) return "–";
  const value = 100 * x;
  return (value > 0 && value < 0.995 ? value.toPrecision(1) : value.toFixed(value < 9.95 ? 1 : 0)) + "%";
}

// a lower bound is never rounded up
const floored = (x) => (known(x) ? Math.floor(100 * x + 1e-9) + "%" : "–");
const short = (text, most) => (text.length > most ? text.slice(0, most - 1).trimEnd() + "…" : text);

// ---- items and concepts ----
const concepts = data.concepts;
const byLatent = new Map(concepts.map((c) => [c.latent, c]));
const standing = (c) => (c.correction === "rejected" ? "rejected" : c.status);
const title = (item) => data.items[item][0];
const about = (item) => Object.entries(data.items[item][1]).map(([k, v]) => k + ": " + v.join(", ")).join("; ");
// "match": what the label's first statement is about is true of the item; "match2": of its second
function matching(concept, item) {
  const [first, second] = concept.says || [], values = data.items[item][2];
  return known(first) && values.includes(first) ? " match" : known(second) && values.includes(second) ? " match2" : "";
}
// how often of all that were made again, e.g. "3 of 4"
const ofAgain = (share) => Math.round(share * data.again.n) + " of " + data.again.n;
