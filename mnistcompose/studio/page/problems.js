// Errors in the layout: each next to its field, in a list, and at its line of the text.

import { $, element } from "./dom.js";
import { goTo, numberLines } from "./editor.js";

export function showProblems(problems) {
  for (const place of $("form").querySelectorAll(".problem")) Object.assign(place, { hidden: true, textContent: "" });
  for (const control of $("form").querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const { path, message } of problems) showAtField(path, message);
  $("problems").replaceChildren(
    ...problems.map(({ line, message }) => {
      const text = line ? `line ${line}: ${message}` : message;
      return element("li", {}, element("button", { type: "button", textContent: text, onclick: () => line && goTo(line) }));
    }),
  );
  numberLines(new Set(problems.map(({ line }) => line)));
}

// A message is next to its field, or to the nearest thing around the field that has a place for it.
function showAtField(path, message) {
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
