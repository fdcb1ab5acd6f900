// Single controls: each shows the layout's value at a path, and writes what the user makes of it.

import { element } from "./dom.js";
import { read, write } from "./layout.js";
import { resolve } from "./schema.js";
import { NORMAL_CUT } from "./starting-values.js";
import { json, number, shown, tidy, words } from "./values.js";

export const idOf = (path) => `field-${path.join("-")}`;
const fullName = (path) => words(path.filter((part) => typeof part === "string").join(" "));

export function problemPlace(path) {
  return element("p", { className: "problem", id: `${idOf(path)}-problem`, hidden: true, data: { path: path.join(".") } });
}

function row(path, node, control, ...below) {
  const name = element("label", { htmlFor: control.id, textContent: words(path.at(-1)), title: node.description ?? "" });
  return element("div", { className: "row" }, name, control, problemPlace(path), ...below);
}

function marked(path, properties = {}) {
  return { id: idOf(path), aria: { describedby: `${idOf(path)}-problem` }, data: { field: path.join(".") }, ...properties };
}

export function input(path, node) {
  const value = read(path) ?? node.default ?? "";
  const whole = node.type === "integer";
  const tag = node.maxLength > 200 ? "textarea" : "input";
  const className = tag === "input" ? (whole ? "number" : "") : "area";
  const made = element(tag, marked(path, { className, value: shown(value) }));
  made.style.width = "100%";
  if (whole) made.inputMode = "numeric";
  const typed = whole ? number : node.type === "object" ? json : (text) => text;
  made.addEventListener("input", () => write(path, typed(made.value)));
  return row(path, node, made);
}

export function checkbox(path, node) {
  const made = element("input", marked(path, { type: "checkbox", checked: read(path) ?? node.default ?? false }));
  made.addEventListener("input", () => write(path, made.checked));
  return row(path, node, made);
}

export function select(path, node) {
  return choose(path, node, node.enum, read(path) ?? node.default, (value) => write(path, value));
}

// `options` are values, or [value, label]; a value that is none of them is shown as it is.
export function choose(path, node, options, value, change, ...below) {
  const known = options.map((option) => (Array.isArray(option) ? option : [option, words(String(option))]));
  if (!known.some(([each]) => each === value)) known.unshift([value, `${shown(value)} (in the text)`]);
  const choices = known.map(([each, label]) => new Option(label, each, false, each === value));
  const made = element("select", marked(path), ...choices);
  made.addEventListener("input", () => change(known.find(([each]) => String(each) === made.value)[0]));
  return row(path, node, made, ...below);
}

// A list of any length, as words between commas.
export function list(path, node) {
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

// A list of fixed length; its description begins with the names, as in '[x, y] of the centre'.
export function pair(path, node, bounds, flush) {
  const names = /^\[([^\]]*)\]/.exec(node.description ?? "")?.[1].split(", ") ?? [];
  const reach = (bounds.maximum - bounds.minimum) / (2 * NORMAL_CUT);
  const made = node.prefixItems.map((item, index) => {
    const inner = item.minimum === undefined ? { ...item, ...bounds } : { maximum: reach, ...item };
    const name = names[index] ?? String(index);
    const label = flush ? `${words(path.at(-1))} ${name}` : name.split(" ").at(-1);
    return slider([...path, index], label, { ...inner, description: node.description }, { flush });
  });
  const places = node.prefixItems.map((_, index) => problemPlace([...path, index]));
  return element("div", {}, ...made.flatMap((each, index) => [each, places[index]]), problemPlace(path));
}

// Red, green and blue, 0 to 255, in the browser's own colour field.
export function color(path) {
  const value = read(path) ?? [255, 255, 255];
  const code = `#${value.map((each) => Number(each).toString(16).padStart(2, "0")).join("")}`;
  const made = element("input", marked(path, { type: "color", value: code, id: `${idOf(path)}-value` }));
  made.setAttribute("aria-label", fullName(path));
  made.addEventListener("input", () => {
    write(path, [1, 3, 5].map((start) => parseInt(made.value.slice(start, start + 2), 16)));
  });
  return element("div", {}, made);
}

// A slider, and a field for finer values and for those outside of the slider. Where the allowed range is wide, the slider
// spans a quarter of it, and twice as much after it is let go at an end.
export function slider(path, label, node, { flush = false } = {}, standard = 0, suffix = "") {
  const value = read(path) ?? standard;
  const [low, high] = [node.minimum ?? node.exclusiveMinimum, node.maximum ?? node.exclusiveMaximum];
  const allowed = [low ?? -10, Number.isFinite(high) ? high : 10];
  const width = allowed[1] - allowed[0];
  const digits = width > 100 ? 0 : width > 15 && allowed[0] === 0 ? 1 : 2;
  const range = element("input", { type: "range", min: allowed[0], max: allowed[1], step: 10 ** -digits });
  const properties = { id: idOf(path) + suffix, className: "number", value: shown(value), inputMode: "decimal" };
  const exact = element("input", marked(path, properties));
  for (const each of [range, exact]) each.setAttribute("aria-label", fullName(path) + (label ? ` ${label}` : ""));
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
