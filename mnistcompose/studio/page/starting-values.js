// What a quantity starts with in another form, and a new entry of a list.

import { resolve } from "./schema.js";
import { tidy } from "./values.js";

export const NORMAL_CUT = 3; // standard deviations, where a normal distribution ends

const HUES = [
  [255, 60, 60], [60, 255, 60], [80, 80, 255], [255, 255, 60], [255, 60, 255],
  [60, 255, 255], [255, 150, 50], [160, 70, 255], [255, 255, 255], [60, 255, 160],
]; // a colour for each of MNIST's classes

// The value in its new form is near to what it was.
export function startingValue(form, value, node) {
  const middle = typeof value === "number" ? value : mean(value) ?? Number(node.default) ?? 0;
  if (form.prefixItems) return value?.choice?.[0] ?? node.default;
  if (!form.properties) return Number.isFinite(middle) ? middle : 0;
  const [low, high] = [node.minimum ?? -Infinity, node.maximum ?? Infinity];
  const spread = Number.isFinite(high - low) ? tidy((high - low) / 40, 2) : 0;
  const clipped = (each) => tidy(Math.min(Math.max(each, low), high), 3);
  const starts = {
    by_digit: () => HUES,
    uniform: () => [clipped(middle - spread), clipped(middle + spread)],
    normal: () => [middle, tidy(Math.min(spread / 2, (high - middle) / NORMAL_CUT, (middle - low) / NORMAL_CUT), 3)],
    choice: (list) => {
      const inner = resolve(list.items);
      if (inner.prefixItems) return [Array.isArray(value) ? value : node.default];
      return inner.enum ? inner.enum.slice(0, 2) : [Number.isFinite(middle) ? middle : (inner.minimum ?? 0)];
    },
  };
  return Object.fromEntries(
    (form.required ?? []).map((name) => {
      const own = resolve(form.properties[name]);
      return [name, starts[name]?.(own) ?? own.examples?.[0] ?? 1];
    }),
  );
}

function mean(value) {
  const numbers = Object.values(value ?? {})[0];
  if (!Array.isArray(numbers) || !numbers.every((each) => typeof each === "number")) return undefined;
  if ("normal" in value) return numbers[0];
  return tidy(numbers.reduce((sum, each) => sum + each, 0) / numbers.length, 3);
}

// A new entry has what the schema requires, and is to the right of the last one.
export function newEntry(node, last) {
  const made = {};
  for (const name of node.required ?? []) {
    const [x, y] = Array.isArray(last?.[name]) ? last[name].map((each) => Number(each) || 0) : [-0.9, 0];
    made[name] = [tidy(Math.min(x + 0.9, node.properties[name].prefixItems[0].maximum), 2), y];
  }
  return made;
}
