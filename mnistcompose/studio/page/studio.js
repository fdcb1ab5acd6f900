// The studio's page. Data flows one way: the form and the editor change the layout, each change asks the server, and the
// server's answer is what is shown.

import { $ } from "./dom.js";
import { showText } from "./editor.js";
import { say, showState } from "./file.js";
import { buildForm } from "./form.js";
import { accept, changes, layout, open, request, version } from "./layout.js";
import { showProblems } from "./problems.js";
import { firstSample, showSamples, turn } from "./samples.js";
import { define } from "./schema.js";
import { call, oneAtATime } from "./server.js";

const ask = oneAtATime(askOnce, () => say("the studio has ended, or does not answer", true));

async function askOnce() {
  const [asked, first] = [version(), firstSample()];
  const response = await call("samples", { ...request(), seed: layout.seed, first });
  if (!response.ok) return say(await response.text(), true);
  const found = await response.json();
  if (asked === version()) {
    accept(found);
    $("form").classList.toggle("stale", !found.fields);
    showProblems(found.problems);
    showState();
  }
  if (found.images) showSamples({ ...found, first });
  $("grid").classList.toggle("stale", !found.images);
  dispatchEvent(new Event("answered"));
}

function turnAndAsk(pages) {
  turn(pages);
  ask();
}

changes.addEventListener("edit", ask);
changes.addEventListener("edit", showState);
changes.addEventListener("text", showText);
changes.addEventListener("fields", buildForm);
$("form").addEventListener("submit", (event) => event.preventDefault());
$("seed").addEventListener("input", () => {
  const text = $("seed").value;
  const good = /^\d+$/.test(text) && Number.isSafeInteger(Number(text));
  $("seed").setAttribute("aria-invalid", String(!good));
  if (good) {
    layout.seed = Number(text); // an invalid one leaves the last valid one in use
    ask();
  }
  showState();
});
$("back").addEventListener("click", () => turnAndAsk(-1));
$("next").addEventListener("click", () => turnAndAsk(1));

const response = await call("layout");
if (response.ok) {
  const found = await response.json();
  define(found.schema);
  open(found);
  $("file").textContent = found.file ?? `${found.name} (not a file)`;
  document.title = `${found.file ?? found.name} – mnistcompose studio`;
  $("seed").value = found.seed;
  turnAndAsk(0);
} else {
  say(await response.text(), true);
}
