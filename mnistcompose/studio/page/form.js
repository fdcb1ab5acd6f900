// The form: sections that open and close, and lists whose entries are added and removed.

import { idOf, problemPlace } from "./controls.js";
import { $, element } from "./dom.js";
import { field, group } from "./fields.js";
import { read, restructure } from "./layout.js";
import { isGroup, isListOfGroups, resolve, topFields } from "./schema.js";
import { newEntry } from "./starting-values.js";
import { words } from "./values.js";

const INHERITS = { slots: "digit" }; // the group that an entry of the list takes missing values from
const closed = new Set(); // sections that the user has closed, and others that start closed
const opened = new Set();

export function buildForm() {
  const focused = document.activeElement?.id;
  const scrolled = $("form").scrollTop;
  $("form").replaceChildren(...sections());
  $("form").scrollTop = scrolled;
  if (focused?.startsWith("field-")) $(focused)?.focus();
}

function sections() {
  const made = [];
  let plain = []; // neighbours that are not groups; the first of them make a section
  const close = () => {
    const controls = plain.flatMap(([name, node]) => field([name], node));
    if (made.length === 0) made.push(section(["dataset"], "Dataset", "name and size", controls, false));
    else made.push(...controls);
    plain = [];
  };
  for (const [name, node] of topFields()) {
    if (!isGroup(node) && !isListOfGroups(node)) {
      plain.push([name, node]);
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
  const remove = (index) => {
    restructure(path, list.filter((_, other) => other !== index));
    $(idOf([...path, "add"])).focus();
  };
  const made = list.map((_, index) => {
    const own = [...path, index];
    const dot = element("span", { className: "dot" });
    dot.style.setProperty("--slot", `var(--slot-${index})`);
    const button = element("button", {
      type: "button", className: "quiet", textContent: `Remove ${singular} ${index + 1}`,
      disabled: list.length <= (node.minItems ?? 0), onclick: () => remove(index),
    });
    const children = [...group(own, inner, INHERITS[path[0]]), element("div", { className: "ends" }, button)];
    return section(own, `${title(singular)} ${index + 1}`, inner.description, children, index === 0, dot);
  });
  const add = element("button", {
    type: "button", id: idOf([...path, "add"]), className: "add", textContent: `Add a ${singular}`,
    disabled: list.length >= node.maxItems,
    onclick: () => {
      opened.add([...path, list.length].join("."));
      restructure(path, [...list, newEntry(inner, list.at(-1))]);
    },
  });
  return [problemPlace(path), ...made, add];
}
