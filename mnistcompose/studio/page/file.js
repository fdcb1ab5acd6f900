// The layout's file: whether it is saved, saving it, and the command that builds it.

import { $ } from "./dom.js";
import { layout } from "./layout.js";
import { call } from "./server.js";

let replace = false; // another program has changed the file, and the user has been told

export function say(message, bad = false) {
  $("status").textContent = message;
  $("status").classList.toggle("bad", bad);
}

const isSaved = () => layout.text === layout.saved;

export function showState() {
  if (layout.file) say(isSaved() ? "" : "unsaved changes");
  $("save").disabled = !layout.file;
  const { seed } = layout;
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
    const isJson = response.headers.get("Content-Type").includes("json");
    const found = isJson ? (await response.json()).message : await response.text();
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
    say(isSaved() ? "copied" : "copied; it builds the file as last saved");
  } catch {
    getSelection().selectAllChildren(command); // the browser does not allow it, but it allows Ctrl-C
    say("press Ctrl-C to copy");
  }
}

$("save").addEventListener("click", save);
$("copy").addEventListener("click", copy);
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    save();
  }
});
addEventListener("beforeunload", (event) => {
  if (layout.file && !isSaved()) event.preventDefault();
});
