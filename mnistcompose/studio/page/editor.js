// The editor of the layout's text, with numbered lines.

import { $, element } from "./dom.js";
import { layout, writeText } from "./layout.js";

export function showText() {
  $("text").value = layout.text;
}

export function numberLines(bad = new Set()) {
  const count = layout.text.split("\n").length;
  const made = Array.from({ length: count }, (_, index) =>
    element("span", { textContent: index + 1, className: bad.has(index + 1) ? "bad" : "" }),
  );
  $("lines").replaceChildren(...made);
  $("lines").scrollTop = $("text").scrollTop;
}

export function goTo(line) {
  const before = layout.text.split("\n").slice(0, line - 1).join("\n").length;
  const start = line > 1 ? before + 1 : 0;
  const end = layout.text.indexOf("\n", start);
  $("text").focus();
  $("text").setSelectionRange(start, end < 0 ? layout.text.length : end);
}

$("text").addEventListener("input", () => {
  writeText($("text").value);
  numberLines();
});
$("text").addEventListener("scroll", () => {
  $("lines").scrollTop = $("text").scrollTop;
});
