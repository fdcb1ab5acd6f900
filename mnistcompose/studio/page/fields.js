// The controls of a field of the schema; a field that is a group of fields has those of each.

import { checkbox, choose, color, input, list, pair, problemPlace, select, slider } from "./controls.js";
import { read, restructure } from "./layout.js";
import { formOf, formsOf, resolve } from "./schema.js";
import { startingValue } from "./starting-values.js";
import { words } from "./values.js";

// `inherited` names the group that a missing value is taken from.
export function group(path, node, inherited) {
  const required = node.required ?? [];
  const names = Object.keys(node.properties).sort((a, b) => required.includes(b) - required.includes(a));
  return names.flatMap((name) =>
    field([...path, name], resolve(node.properties[name]), required.includes(name) ? null : inherited),
  );
}

export function field(path, node, inherited) {
  if (node.oneOf) return [quantity(path, node, inherited)];
  if (node.properties) return group(path, node);
  if (node.prefixItems) return [pair(path, node, {}, true)];
  if (node.enum) return [select(path, node)];
  if (node.type === "boolean") return [checkbox(path, node)];
  if (node.type === "number") return [slider(path, words(path.at(-1)), node, {}, node.default), problemPlace(path)];
  return [input(path, node)];
}

// A choice between the forms of a quantity, and the controls of the form that it has.
function quantity(path, node, inherited) {
  const forms = formsOf(node);
  const value = read(path) ?? (inherited ? undefined : node.default);
  const current = value === undefined ? null : formOf(value, forms);
  const options = forms.map(({ key }) => [key, words(String(key))]);
  if (inherited) options.unshift(["", `as every ${inherited}`]);
  const change = (key) => {
    const { form, value: word } = forms.find((each) => each.key === key) ?? {};
    restructure(path, key === "" ? undefined : word !== undefined ? word : startingValue(form, read(path) ?? value, node));
  };
  const bounds = { minimum: node.minimum, maximum: node.maximum };
  const below = current?.form ? formControls(path, current.form, bounds, node.default) : [];
  const shownKey = value === undefined ? "" : current ? current.key : value;
  return choose(path, node, options, shownKey, change, ...below);
}

// Each control takes the whole width of its row.
function formControls(path, form, bounds, standard) {
  if (form.prefixItems) return [wide(color(path))];
  if (!form.properties) return [wide(slider(path, "", { ...form, ...bounds }, {}, standard, "-value"))];
  return Object.entries(form.properties).flatMap(([name, given]) => {
    const [own, node] = [[...path, name], resolve(given)];
    if (node.prefixItems) return [wide(pair(own, node, bounds, false))];
    if (node.items) return [list(own, node), problemPlace(own)];
    return field(own, node).map(wide);
  });
}

function wide(made) {
  made.classList.add("wide");
  return made;
}
