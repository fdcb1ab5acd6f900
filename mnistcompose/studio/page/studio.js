// The studio's page. Data flows one way: a form field changes `layout.fields`, the editor changes `layout.text`; the
// server makes of either the other one and the samples, and its answer is what is shown.

const TILE = 112; // canvas pixels of an image's longer side
const COUNT = 64;
const NORMAL_CUT = 3; // standard deviations, where a normal distribution ends
const INHERITS = { slots: "digit" }; // what an entry of the list leaves out comes from there
const BOX_COLORS = [
  "#60a5fa", "#fb923c", "#34d399", "#e879f9", "#facc15", "#22d3ee", "#f87171", "#a78bfa", "#a3e635",
];

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") ?? "";
const layout = { text: "", fields: {}, saved: "", file: null, command: null };
let schema = {};
let answer = null; // the newest samples

function element(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// --- asking the server: one question is on its way, and of those that wait only the newest counts --------------------

let asking = false;
let outdated = false; // what is on its way is not what is wanted by now
let edited = null; // "form" or "text": which of the two was changed last and has to be followed by the other
let edits = 0;

async function call(path, body) {
  const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
  const headers = { "X-Studio-Token": token, "Content-Type": "application/json" };
  return fetch(path, { ...options, headers });
}

function edit(which) {
  edited = which;
  edits += 1;
  ask();
}

async function ask() {
  outdated = true;
  if (asking) return;
  asking = true;
  try {
    while (outdated) {
      outdated = false;
      await askOnce();
    }
  } catch {
    say("the studio has ended, or does not answer", true);
  } finally {
    asking = false;
  }
}

async function askOnce() {
  const [source, count, first] = [edited, edits, page * COUNT];
  const fields = source === "form" ? layout.fields : null;
  const response = await call("samples", { text: layout.text, fields, seed: Number($("seed").value), first });
  if (!response.ok) return say(await response.text(), true);
  const found = await response.json();
  if (count === edits) accept(found, source);
  if (found.images) {
    answer = { ...found, first };
    paint();
  }
  $("grid").classList.toggle("stale", !found.images);
  dispatchEvent(new Event("answered"));
}

function accept(found, source) {
  edited = null;
  if (source === "form") {
    layout.text = $("text").value = found.text;
  } else if (source === "text" && found.fields) {
    layout.fields = found.fields;
    buildForm();
  }
  $("form").classList.toggle("stale", !found.fields);
  showProblems(found.problems);
  showState();
}

// --- the form, drawn from the schema ---------------------------------------------------------------------------------

const resolve = (node) => (node.$ref ? { ...schema.$defs[node.$ref.split("/").pop()], ...node } : node);
const idOf = (path) => `field-${path.join("-")}`;
const words = (name) => name.replaceAll("_", " ");
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function read(path) {
  return path.reduce((value, key) => value?.[key], layout.fields);
}

function write(path, value) {
  let place = layout.fields;
  path.slice(0, -1).forEach((key, index) => {
    if (place[key] === null || typeof place[key] !== "object") place[key] = typeof path[index + 1] === "number" ? [] : {};
    place = place[key];
  });
  if (value === undefined) delete place[path.at(-1)];
  else place[path.at(-1)] = value;
  edit("form");
}

function restructure(path, value) {
  write(path, value);
  buildForm();
}

const closed = new Set(); // details that the user has closed, and others that start so
const opened = new Set();

function buildForm() {
  const focused = document.activeElement?.id;
  const scrolled = $("form").scrollTop;
  $("form").replaceChildren(...sections());
  $("form").scrollTop = scrolled;
  if (focused?.startsWith("field-")) $(focused)?.focus();
}

function sections() {
  const made = [];
  let plain = []; // neighbours that are no objects; the first of them make a section
  const close = () => {
    if (made.length === 0) made.push(section(["dataset"], "Dataset", "name and size", plain.flatMap(([p, s]) => field(p, s)), false));
    else made.push(...plain.flatMap(([p, s]) => field(p, s)));
    plain = [];
  };
  for (const [name, given] of Object.entries(schema.properties)) {
    const node = resolve(given);
    if (!node.properties && !(node.items && resolve(node.items).properties)) {
      plain.push([[name], node]);
      continue;
    }
    close();
    if (node.items) made.push(...entries([name], node));
    else made.push(section([name], title(name), node.description, group([name], node), true));
  }
  close();
  return made;
}

function title(name) {
  const heirs = Object.values(INHERITS).includes(name);
  return heirs ? `Every ${words(name)}` : words(name[0].toUpperCase() + name.slice(1));
}

function section(path, name, hint, children, open, dot = null) {
  const key = path.join(".");
  const made = element(
    "details",
    { open: opened.has(key) || (open && !closed.has(key)), data: { key } },
    element("summary", { id: `${idOf(path)}-title`, title: hint ?? "" }, dot, name),
    element("div", { className: "body" }, problemPlace(path), ...children),
  );
  made.addEventListener("toggle", () => {
    (made.open ? opened : closed).add(key);
    (made.open ? closed : opened).delete(key);
  });
  return made;
}

function entries(path, node) {
  const list = Array.isArray(read(path)) ? read(path) : [];
  const [singular, inner] = [words(path.at(-1)).replace(/s$/, ""), resolve(node.items)];
  const removed = (index) => {
    restructure(path, list.filter((_, other) => other !== index));
    $(idOf([...path, "add"])).focus();
  };
  const made = list.map((_, index) => {
    const own = [...path, index];
    const dot = element("span", { className: "dot" });
    dot.style.setProperty("--slot", `var(--slot-${index})`);
    const remove = element("button", {
      type: "button", className: "quiet", textContent: `Remove ${singular} ${index + 1}`,
      disabled: list.length <= (node.minItems ?? 0), onclick: () => removed(index),
    });
    const children = [...group(own, inner, INHERITS[path[0]]), element("div", { className: "ends" }, remove)];
    return section(own, `${title(singular)} ${index + 1}`, inner.description, children, index === 0, dot);
  });
  const add = element("button", {
    type: "button", id: idOf([...path, "add"]), className: "add", textContent: `Add a ${singular}`,
    disabled: list.length >= node.maxItems,
    onclick: () => {
      opened.add([...path, list.length].join("."));
      restructure(path, [...list, fresh(inner, list.at(-1))]);
    },
  });
  return [problemPlace(path), ...made, add];
}

// A new entry has what it needs, and stands to the right of the last one.
function fresh(node, last) {
  const made = {};
  for (const name of node.required ?? []) {
    const [x, y] = Array.isArray(last?.[name]) ? last[name].map((each) => Number(each) || 0) : [-0.9, 0];
    made[name] = [tidy(Math.min(x + 0.9, node.properties[name].prefixItems[0].maximum), 2), y];
  }
  return made;
}

function group(path, node, inherited) {
  const required = node.required ?? [];
  const names = Object.keys(node.properties).sort((a, b) => required.includes(b) - required.includes(a));
  return names.flatMap((name) =>
    field([...path, name], resolve(node.properties[name]), required.includes(name) ? null : inherited),
  );
}

function field(path, node, inherited) {
  if (node.oneOf) return [variant(path, node, inherited)];
  if (node.properties) return group(path, node);
  if (node.prefixItems) return [pair(path, node, {}, true)];
  if (node.enum) return [select(path, node)];
  if (node.type === "boolean") return [checkbox(path, node)];
  if (node.type === "number") return [slider(path, words(path.at(-1)), node, {}, node.default), problemPlace(path)];
  return [input(path, node)];
}

function problemPlace(path) {
  return element("p", { className: "problem", id: `${idOf(path)}-problem`, hidden: true, data: { path: path.join(".") } });
}

function row(path, node, control, ...below) {
  const name = element("label", { htmlFor: control.id, textContent: words(path.at(-1)), title: node.description ?? "" });
  return element("div", { className: "row" }, name, control, problemPlace(path), ...below);
}

function marked(path, properties = {}) {
  return { id: idOf(path), aria: { describedby: `${idOf(path)}-problem` }, data: { field: path.join(".") }, ...properties };
}

function input(path, node) {
  const value = read(path) ?? node.default ?? "";
  const whole = node.type === "integer";
  const tag = node.maxLength > 200 ? "textarea" : "input";
  const made = element(tag, marked(path, { className: tag === "input" ? (whole ? "number" : "") : "area", value: shown(value) }));
  made.style.width = "100%";
  if (whole) made.inputMode = "numeric";
  made.addEventListener("input", () => write(path, whole ? number(made.value) : made.value));
  return row(path, node, made);
}

function checkbox(path, node) {
  const made = element("input", marked(path, { type: "checkbox", checked: read(path) ?? node.default ?? false }));
  made.addEventListener("input", () => write(path, made.checked));
  return row(path, node, made);
}

function select(path, node) {
  return choose(path, node, node.enum, read(path) ?? node.default, (value) => write(path, value));
}

// `options` are values, or [value, label]; a value that is none of them is shown as what it is.
function choose(path, node, options, value, change, ...below) {
  const known = options.map((option) => (Array.isArray(option) ? option : [option, words(String(option))]));
  if (!known.some(([each]) => each === value)) known.unshift([value, `${shown(value)} (in the text)`]);
  const made = element("select", marked(path), ...known.map(([each, label]) => new Option(label, each, false, each === value)));
  made.addEventListener("input", () => change(known.find(([each]) => String(each) === made.value)[0]));
  return row(path, node, made, ...below);
}

// A list of free length, as words between commas.
function listed(path, node) {
  const value = read(path);
  const inner = resolve(node.items);
  const text = Array.isArray(value) && !inner.prefixItems ? value.map(shown).join(", ") : shown(value);
  const made = element("input", marked(path, { value: text, title: node.description, className: "wide" }));
  made.setAttribute("aria-label", `${words(path.at(-2) ?? "")}: ${node.description}, with commas between`);
  const one = ["number", "integer"].includes(inner.type) ? number : (word) => word;
  made.addEventListener("input", () => {
    if (inner.prefixItems) return write(path, json(made.value)); // lists in a list, as they are in the text
    const parts = made.value.split(",").map((part) => part.trim());
    write(path, parts.filter((part, index) => part || index < parts.length - 1).map(one));
  });
  return made;
}

// --- quantities: a number, or one of the ways in which it varies -----------------------------------------------------

function variant(path, node, inherited) {
  const forms = node.oneOf.map(resolve).flatMap((form) => {
    if (form.enum || form.const !== undefined) return (form.enum ?? [form.const]).map((value) => ({ key: value, value }));
    if (!form.properties) return [{ key: "fixed", form }];
    const names = Object.keys(form.properties);
    return [{ key: names.length === 1 ? names[0] : form.title.toLowerCase(), form }];
  });
  const value = read(path) ?? (inherited ? undefined : node.default);
  const fits = ({ key, form, value: word }) => {
    if (!form) return value === word;
    if (form.prefixItems) return Array.isArray(value);
    if (!form.properties) return typeof value === "number" || (typeof value === "string" && !forms.some((f) => f.value !== undefined));
    return isObject(value) && Object.keys(form.properties).some((name) => name in value);
  };
  const current = value === undefined ? null : forms.find(fits);
  const options = forms.map(({ key }) => [key, words(String(key))]);
  if (inherited) options.unshift(["", `as every ${inherited}`]);
  const change = (key) => {
    const { form, value: word } = forms.find((each) => each.key === key) ?? {};
    restructure(path, key === "" ? undefined : word !== undefined ? word : begin(form, read(path) ?? value, node));
  };
  const bounds = { minimum: node.minimum, maximum: node.maximum };
  const below = current?.form ? parts(path, current.form, bounds, node.default) : [];
  const shownKey = value === undefined ? "" : current ? current.key : value;
  return choose(path, node, options, shownKey, change, ...below);
}

// The controls of one form of a quantity, each over the whole width of its row.
function parts(path, form, bounds, standard) {
  if (form.prefixItems) return [wide(color(path))];
  if (!form.properties) return [wide(slider(path, "", { ...form, ...bounds }, {}, standard, "-value"))];
  return Object.entries(form.properties).flatMap(([name, given]) => {
    const [own, node] = [[...path, name], resolve(given)];
    if (node.prefixItems) return [wide(pair(own, node, bounds, false))];
    if (node.items) return [listed(own, node), problemPlace(own)];
    return field(own, node).map(wide);
  });
}

function wide(made) {
  made.classList.add("wide");
  return made;
}

// What a quantity starts with when it is given another form: near what it was.
function begin(form, value, node) {
  const middle = typeof value === "number" ? value : mean(value) ?? Number(node.default) ?? 0;
  if (form.prefixItems) return value?.choice?.[0] ?? node.default;
  if (!form.properties) return Number.isFinite(middle) ? middle : 0;
  const [low, high] = [node.minimum ?? -Infinity, node.maximum ?? Infinity];
  const spread = Number.isFinite(high - low) ? tidy((high - low) / 40, 2) : 0;
  const clipped = (each) => tidy(Math.min(Math.max(each, low), high), 3);
  const starts = {
    uniform: () => [clipped(middle - spread), clipped(middle + spread)],
    normal: () => [middle, tidy(Math.min(spread / 2, (high - middle) / NORMAL_CUT, (middle - low) / NORMAL_CUT), 3)],
    choice: (list) => {
      const inner = resolve(list.items);
      if (inner.prefixItems) return [Array.isArray(value) ? value : node.default];
      return inner.enum ? inner.enum.slice(0, 2) : [Number.isFinite(middle) ? middle : (inner.minimum ?? 0)];
    },
  };
  return Object.fromEntries(
    (form.required ?? []).map((name) => [name, starts[name]?.(resolve(form.properties[name])) ?? 1]),
  );
}

function mean(value) {
  const numbers = Object.values(value ?? {})[0];
  if (!Array.isArray(numbers) || !numbers.every((each) => typeof each === "number")) return undefined;
  if ("normal" in value) return numbers[0];
  return tidy(numbers.reduce((sum, each) => sum + each, 0) / numbers.length, 3);
}

// A list of fixed length; its description begins with the names, as in '[x, y] of the centre'.
function pair(path, node, bounds, flush) {
  const names = /^\[([^\]]*)\]/.exec(node.description ?? "")?.[1].split(", ") ?? [];
  const reach = (bounds.maximum - bounds.minimum) / (2 * NORMAL_CUT);
  const made = node.prefixItems.map((item, index) => {
    const inner = item.minimum === undefined ? { ...item, ...bounds } : { maximum: reach, ...item };
    const label = flush ? `${words(path.at(-1))} ${names[index] ?? index}` : (names[index] ?? String(index)).split(" ").at(-1);
    return slider([...path, index], label, { ...inner, description: node.description }, { flush });
  });
  const places = node.prefixItems.map((_, index) => problemPlace([...path, index]));
  return element("div", {}, ...made.flatMap((each, index) => [each, places[index]]), problemPlace(path));
}

// Red, green and blue, 0 to 255, in the browser's own colour field.
function color(path) {
  const value = read(path) ?? [255, 255, 255];
  const code = `#${value.map((each) => Number(each).toString(16).padStart(2, "0")).join("")}`;
  const made = element("input", marked(path, { type: "color", value: code, id: `${idOf(path)}-value` }));
  made.setAttribute("aria-label", words(path.filter((part) => typeof part === "string").join(" ")));
  made.addEventListener("input", () => {
    write(path, [1, 3, 5].map((start) => parseInt(made.value.slice(start, start + 2), 16)));
  });
  return element("div", {}, made);
}

// A slider, and a field for what is beyond it or finer. Where much is allowed, the slider spans a quarter of it, and
// twice as much after it was let go at an end.
function slider(path, label, node, { flush = false } = {}, standard = 0, suffix = "") {
  const value = read(path) ?? standard;
  const allowed = [node.minimum ?? -10, Number.isFinite(node.maximum) ? node.maximum : 10];
  const width = allowed[1] - allowed[0];
  const digits = width > 100 ? 0 : width > 15 && allowed[0] === 0 ? 1 : 2;
  const range = element("input", { type: "range", min: allowed[0], max: allowed[1], step: 10 ** -digits });
  const exact = element("input", marked(path, { id: idOf(path) + suffix, className: "number", value: shown(value), inputMode: "decimal" }));
  const full = words(path.filter((part) => typeof part === "string").join(" ")) + (label ? ` ${label}` : "");
  for (const each of [range, exact]) each.setAttribute("aria-label", full);
  exact.title = node.description ?? "";
  range.dataset.slider = path.join(".");

  const span = (factor) => {
    const center = Math.min(Math.max(Number(standard) || 0, allowed[0]), allowed[1]);
    const part = width > 5 ? Math.min(1, factor / 4) : 1;
    const now = Number(exact.value) || 0;
    range.min = tidy(Math.max(allowed[0], Math.min(center - (center - allowed[0]) * part, now)), digits);
    range.max = tidy(Math.min(allowed[1], Math.max(center + (allowed[1] - center) * part, now)), digits);
    range.value = exact.value;
    return factor;
  };
  let factor = span(1);
  range.addEventListener("input", () => {
    exact.value = shown(tidy(Number(range.value), digits));
    write(path, Number(exact.value));
  });
  range.addEventListener("change", () => {
    if (range.value === range.min || range.value === range.max) factor = span(factor * 2);
  });
  exact.addEventListener("input", () => {
    write(path, number(exact.value));
    span(factor);
  });
  const name = element("label", { htmlFor: exact.id, textContent: label, title: node.description ?? "" });
  return element("div", { className: flush ? "slider flush" : "slider" }, name, range, exact);
}

const tidy = (value, digits) => Number(value.toFixed(digits));
const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value ?? ""));

// A list if it is one; else the words, of which the server says what is wrong.
function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// A number if it is one; else the words, of which the server says what is wrong.
function number(text) {
  const value = Number(text.replace("−", "-"));
  return text.trim() && Number.isFinite(value) ? value : text;
}

// --- what is wrong ---------------------------------------------------------------------------------------------------

function showProblems(problems) {
  for (const place of $("form").querySelectorAll(".problem")) Object.assign(place, { hidden: true, textContent: "" });
  for (const control of $("form").querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const { path, message } of problems) blame(path, message);
  $("problems").replaceChildren(
    ...problems.map(({ line, message }) => {
      const text = line ? `line ${line}: ${message}` : message;
      return element("li", {}, element("button", { type: "button", textContent: text, onclick: () => line && goTo(line) }));
    }),
  );
  numberLines(new Set(problems.map(({ line }) => line)));
}

// A message stands at its field, or at the nearest thing around it that has a place.
function blame(path, message) {
  for (let length = path.length; length > 0; length -= 1) {
    const key = CSS.escape(path.slice(0, length).join("."));
    const place = $("form").querySelector(`.problem[data-path="${key}"]`);
    if (!place) continue;
    place.textContent = [place.textContent, message].filter(Boolean).join("; ");
    place.hidden = false;
    for (const control of $("form").querySelectorAll(`[data-field="${key}"]`)) control.setAttribute("aria-invalid", "true");
    for (let around = place.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    return;
  }
}

function numberLines(bad) {
  const count = layout.text.split("\n").length;
  const made = Array.from({ length: count }, (_, index) =>
    element("span", { textContent: index + 1, className: bad.has(index + 1) ? "bad" : "" }),
  );
  $("lines").replaceChildren(...made);
  $("lines").scrollTop = $("text").scrollTop;
}

function goTo(line) {
  const before = layout.text.split("\n").slice(0, line - 1).join("\n").length;
  const start = line > 1 ? before + 1 : 0;
  const end = layout.text.indexOf("\n", start);
  $("text").focus();
  $("text").setSelectionRange(start, end < 0 ? layout.text.length : end);
}

// --- the samples -----------------------------------------------------------------------------------------------------

let page = 0; // of 64 samples
const sheet = new OffscreenCanvas(1, 1);
const tiles = Array.from({ length: COUNT }, () => {
  const canvas = element("canvas", { width: TILE, height: TILE, aria: { hidden: "true" } });
  const caption = element("figcaption");
  const tile = element("figure", {}, canvas, caption);
  tile.setAttribute("role", "listitem");
  $("grid").append(tile);
  return { tile, caption, pen: canvas.getContext("2d") };
});

function paint() {
  const bytes = Uint8Array.from(atob(answer.images), (letter) => letter.charCodeAt(0));
  const [height, width, channels = 1] = answer.shape;
  const image = new ImageData(width, height * COUNT);
  for (let place = 0; place < width * height * COUNT; place += 1) {
    for (let color = 0; color < 3; color += 1) {
      image.data[4 * place + color] = bytes[channels * place + (channels > 1 ? color : 0)];
    }
    image.data[4 * place + 3] = 255;
  }
  Object.assign(sheet, { width, height: height * COUNT });
  sheet.getContext("2d").putImageData(image, 0, 0);
  const scale = TILE / Math.max(width, height);
  const framed = $("boxes").checked;
  const far = answer.digits.some((digits) => digits.some((digit) => digit > 9));
  tiles.forEach(({ tile, caption, pen }, index) => {
    Object.assign(pen.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(sheet, 0, index * height, width, height, 0, 0, pen.canvas.width, pen.canvas.height);
    pen.lineWidth = 3;
    if (framed) {
      answer.boxes[index].forEach(([x0, y0, x1, y1], slot) => {
        if (x1 <= x0) return; // a digit that a shorter number lacks
        const [left, top] = [x0 * scale + 1.5, y0 * scale + 1.5];
        pen.strokeStyle = BOX_COLORS[slot];
        pen.strokeRect(left, top, Math.max((x1 - x0) * scale - 3, 1), Math.max((y1 - y0) * scale - 3, 1));
      });
    }
    caption.className = far ? "far" : "";
    caption.replaceChildren(...answer.digits[index].map((digit, slot) => {
      const made = element("span", { textContent: digit });
      made.style.color = `var(--slot-${slot})`;
      return made;
    }));
    tile.title = `sample ${answer.first + index}, ${percent(answer.overlap[index])} of the ink under two digits`;
  });
  const overlap = answer.overlap.reduce((sum, share) => sum + share, 0) / COUNT;
  const fact = (name, value) => element("span", {}, name, element("b", { textContent: value }));
  $("facts").replaceChildren(fact("Overlap ", percent(overlap)), " · ", fact("Classes ", answer.classes.toLocaleString("en")));
  $("facts").title = "Overlap: the share of ink that lies under two digits or more, mean of these 64 samples";
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function turnTo(number) {
  page = Math.max(0, number);
  $("range").value = `${page * COUNT} – ${page * COUNT + COUNT - 1}`;
  $("back").disabled = page === 0;
  ask();
}

// --- the file --------------------------------------------------------------------------------------------------------

let replace = false; // the file was changed by another program, and the user has been told

function say(message, bad = false) {
  $("status").textContent = message;
  $("status").classList.toggle("bad", bad);
}

function showState() {
  const changed = layout.text !== layout.saved;
  if (layout.file) say(changed ? "unsaved changes" : "");
  $("save").disabled = !layout.file;
  const seed = Number($("seed").value);
  $("command").textContent = layout.command
    ? layout.command + (seed ? ` --seed ${seed}` : "")
    : "start the studio with --save FILE";
  $("copy").disabled = !layout.command;
}

async function save() {
  if (!layout.file) return;
  const text = layout.text;
  try {
    const response = await call("save", { text, replace });
    const found = response.headers.get("Content-Type").includes("json") ? (await response.json()).message : await response.text();
    replace = response.status === 409;
    if (response.ok) layout.saved = text;
    showState();
    say(found, !response.ok);
  } catch {
    say("not saved: the studio has ended, or does not answer", true);
  }
}

async function copy() {
  const command = $("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    say(layout.text === layout.saved ? "copied" : "copied; it builds the file as last saved");
  } catch {
    getSelection().selectAllChildren(command); // the browser does not let us: Ctrl-C will
    say("press Ctrl-C to copy");
  }
}

// --- start -----------------------------------------------------------------------------------------------------------

$("form").addEventListener("submit", (event) => event.preventDefault());
$("text").addEventListener("input", () => {
  layout.text = $("text").value;
  numberLines(new Set());
  showState();
  edit("text");
});
$("text").addEventListener("scroll", () => {
  $("lines").scrollTop = $("text").scrollTop;
});
$("seed").addEventListener("input", () => {
  const good = /^\d{1,15}$/.test($("seed").value);
  $("seed").setAttribute("aria-invalid", String(!good));
  if (good) ask();
  showState();
});
$("boxes").addEventListener("input", () => answer && paint());
$("back").addEventListener("click", () => turnTo(page - 1));
$("next").addEventListener("click", () => turnTo(page + 1));
$("save").addEventListener("click", save);
$("copy").addEventListener("click", copy);
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    save();
  }
});
addEventListener("beforeunload", (event) => {
  if (layout.file && layout.text !== layout.saved) event.preventDefault();
});

async function start() {
  const response = await call("layout");
  if (!response.ok) return say(await response.text(), true);
  const found = await response.json();
  ({ schema } = found);
  Object.assign(layout, { text: found.text, saved: found.saved, file: found.file, command: found.command });
  $("file").textContent = found.file ?? `${found.name} (not a file)`;
  document.title = `${found.file ?? found.name} – mnistcompose studio`;
  $("text").value = found.text;
  $("seed").value = found.seed;
  edited = "text";
  turnTo(0);
}

start();
