
// ---- the model's operations on a history, as recsae.recommender.recorded.graph has them ----
// numbers in base64
const unpacked = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const OPERATIONS = (() => {
  const one = (does) => (settings, x) => x.map(does);
  const two = (does) => (settings, a, b) => {
    const n = Math.max(a.length, b.length), found = new Float64Array(n), i1 = a.length > 1 ? 1 : 0, i2 = b.length > 1 ? 1 : 0;
    for (let i = 0; i < n; i += 1) found[i] = does(a[i * i1], b[i * i2]);
    return found;
  };
  // of rows of m, m being the first of the settings, which `does` fills: x, where the row begins, m, out, its number
  const rowwise = (does, size = (m) => m) => ([m, ...more], x) => {
    const n = x.length / m, width = size(m, ...more), found = new Float64Array(n * width);
    for (let row = 0; row < n; row += 1) does(x.subarray(row * m, (row + 1) * m), found.subarray(row * width, (row + 1) * width), ...more);
    return found;
  };
  const collected = (start, step) => rowwise((x, out) => { out[0] = x.reduce(step, start); }, () => 1);
  // settings of a view: the offset, then sizes, then strides
  const viewed = new WeakMap();
  function places(settings) {
    if (!viewed.has(settings)) {
      const rank = (settings.length - 1) / 2;
      let at = Int32Array.of(settings[0]);
      for (let axis = 1; axis <= rank; axis += 1) {
        const size = settings[axis], stride = settings[rank + axis], next = new Int32Array(at.length * size);
        for (let i = 0, n = 0; i < at.length; i += 1) for (let j = 0; j < size; j += 1, n += 1) next[n] = at[i] + j * stride;
        at = next;
      }
      viewed.set(settings, at);
    }
    return viewed.get(settings);
  }
  function taken(x, at) {
    const found = new Float64Array(at.length);
    for (let i = 0; i < at.length; i += 1) found[i] = x[at[i]];
    return found;
  }
  function put(x, at, y) {
    const found = Float64Array.from(x);
    for (let i = 0; i < at.length; i += 1) found[at[i]] = y[i];
    return found;
  }
  function product([batch, n, k, m], a, b) {
    const found = new Float64Array(batch * n * m);
    for (let one = 0; one < batch; one += 1) {
      for (let i = 0; i < n; i += 1) {
        const to = (one * n + i) * m;
        for (let j = 0; j < k; j += 1) {
          const x = a[(one * n + i) * k + j], from = (one * k + j) * m;
          for (let column = 0; column < m; column += 1) found[to + column] += x * b[from + column];
        }
      }
    }
    return found;
  }
  // 2 / sqrt(pi) exp(-x x) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...): all terms have one sign
  function erf(x) {
    if (Math.abs(x) > 6) return Math.sign(x);
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n += 1) { term *= (2 * x * x) / (2 * n + 1); sum += term; }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  return {
    number: ([value]) => Float64Array.of(value),
    view: (settings, x) => taken(x, places(settings)),
    write: (settings, x, y) => put(x, places(settings), y),
    take: (settings, x, at) => taken(x, at),
    put: (settings, x, at, y) => put(x, at, y),
    add_at: (settings, x, at, y) => { const found = Float64Array.from(x); at.forEach((place, i) => { found[place] += y[i]; }); return found; },
    rows: ([width], table, at) => {
      const found = new Float64Array(at.length * width);
      at.forEach((number, i) => found.set(table.row ? table.row(number) : table.subarray(number * width, (number + 1) * width), i * width));
      return found;
    },
    matmul: product,
    where: (settings, c, a, b) => c.map((yes, i) => (yes ? a[a.length > 1 ? i : 0] : b[b.length > 1 ? i : 0])),
    sum: collected(0, (a, b) => a + b), prod: collected(1, (a, b) => a * b), max: collected(-Infinity, (a, b) => Math.max(a, b)),
    cumsum: rowwise((x, out) => { let sum = 0; x.forEach((value, i) => { sum += value; out[i] = sum; }); }),
    softmax: rowwise((x, out) => {
      const most = x.reduce((a, b) => Math.max(a, b), -Infinity);
      out.set(x.map((value) => Math.exp(value - most)));
      const sum = out.reduce((a, b) => a + b, 0);
      out.forEach((value, i) => { out[i] = value / sum; });
    }),
    normalise: rowwise((x, out, eps) => {
      const mean = x.reduce((a, b) => a + b, 0) / x.length, spread = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
      out.set(x.map((value) => (value - mean) / Math.sqrt(spread + eps)));
    }),
    largest: rowwise((x, out) => { out.set([...x.keys()].sort((i, j) => x[j] - x[i] || i - j).slice(0, out.length)); }, (m, k) => k),
    neg: one((x) => -x), abs: one(Math.abs), exp: one(Math.exp), log: one(Math.log), sqrt: one(Math.sqrt), tanh: one(Math.tanh),
    sigmoid: one((x) => 1 / (1 + Math.exp(-x))), relu: one((x) => Math.max(x, 0)), erf: one(erf), sin: one(Math.sin), cos: one(Math.cos),
    floor: one(Math.floor), trunc: one(Math.trunc), not: one((x) => Number(x === 0)),
    add: two((a, b) => a + b), sub: two((a, b) => a - b), mul: two((a, b) => a * b), div: two((a, b) => a / b), pow: two((a, b) => a ** b),
    maximum: two((a, b) => Math.max(a, b)), minimum: two((a, b) => Math.min(a, b)),
    eq: two((a, b) => Number(a === b)), lt: two((a, b) => Number(a < b)), le: two((a, b) => Number(a <= b)),
  };
})();
// a function of a history, places of items of the page: its state and its activations.
// `vector` has the vector of such an item, `matrix` reads a rounded one
function forwardOf(f, vector, matrix) {
  const numbers = unpacked(f.numbers, Int32Array), placeOf = new Map([...numbers].map((number, place) => [number, place]));
  function table(rounded, others, floats) {
    const read = rounded ? matrix(rounded) : vector, width = floats.length / others.length, otherOf = new Map(others.map((number, i) => [number, i]));
    return { row: (number) => {
      if (placeOf.has(number)) return read(placeOf.get(number));
      const i = otherOf.get(number);
      if (i === undefined) throw new Error("an item is not in the page");
      return floats.subarray(i * width, (i + 1) * width);
    } };
  }
  const constants = f.constants.map((made) => (typeof made === "string" ? Float64Array.from(unpacked(made, Float32Array))
    : table(made.rows, made.others, unpacked(made.other_rows, Float32Array))));
  return (history) => {
    const items = new Float64Array(f.length), last = history.slice(-f.length);
    last.forEach((place, i) => { items[i] = numbers[place]; });
    const values = [items, Float64Array.of(last.length)];
    for (const [name, takes, settings] of f.operations) {
      values.push(name === "constant" ? constants[settings[0]] : OPERATIONS[name](settings, ...takes.map((number) => values[number])));
    }
    return f.outputs.map((number) => values[number]);
  };
}
