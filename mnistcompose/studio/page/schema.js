// The layout's JSON schema, from which the form is drawn.

import { isObject } from "./values.js";

const schema = { $defs: {}, properties: {} };

export const define = (given) => Object.assign(schema, given);
export const resolve = (node) => (node.$ref ? { ...schema.$defs[node.$ref.split("/").pop()], ...node } : node);
export const topFields = () => Object.entries(schema.properties).map(([name, given]) => [name, resolve(given)]);
export const isGroup = (node) => Boolean(node.properties);
export const isListOfGroups = (node) => Boolean(node.items && resolve(node.items).properties);

// The forms that a quantity can have: words such as `none`, a number, or one of the ways in which it varies.
export function formsOf(node) {
  return node.oneOf.map(resolve).flatMap((form) => {
    if (form.enum || form.const !== undefined) return (form.enum ?? [form.const]).map((value) => ({ key: value, value }));
    if (!form.properties) return [{ key: "fixed", form }];
    const names = Object.keys(form.properties);
    return [{ key: names.length === 1 ? names[0] : form.title.toLowerCase(), form }];
  });
}

// The one of the forms that a value has; undefined if it has none.
export function formOf(value, forms) {
  return forms.find(({ form, value: word }) => {
    if (!form) return value === word;
    if (form.prefixItems) return Array.isArray(value);
    const names = form.required?.length ? form.required : Object.keys(form.properties ?? {});
    if (form.properties) return isObject(value) && (names.some((name) => name in value) || (!form.required && !Object.keys(value).length));
    return typeof value === "number" || (typeof value === "string" && !forms.some((each) => each.value !== undefined));
  });
}
