// The layout that is edited. The form changes `fields`, the editor changes `text`; the server makes each from the other.

export const layout = { text: "", fields: {}, saved: "", file: null, command: null, seed: 0 };

// "edit": the user has changed the layout. "text", "fields": these have to be shown again.
export const changes = new EventTarget();

let source = null; // "text" or "fields": what the user changed last, until the server has made the other one
let edits = 0;

const announce = (name) => changes.dispatchEvent(new Event(name));

function edit(which) {
  source = which;
  edits += 1;
  announce("edit");
}

export function read(path) {
  return path.reduce((value, key) => value?.[key], layout.fields);
}

export function write(path, value) {
  let place = layout.fields;
  path.slice(0, -1).forEach((key, index) => {
    if (place[key] === null || typeof place[key] !== "object") place[key] = typeof path[index + 1] === "number" ? [] : {};
    place = place[key];
  });
  if (value === undefined) delete place[path.at(-1)];
  else place[path.at(-1)] = value;
  edit("fields");
}

// Write a value for which the form needs other controls.
export function restructure(path, value) {
  write(path, value);
  announce("fields");
}

export function writeText(text) {
  layout.text = text;
  edit("text");
}

export function open({ text, saved, file, command, seed }) {
  Object.assign(layout, { text, saved, file, command, seed });
  source = "text";
  announce("text");
}

export const version = () => edits;
export const request = () => ({ text: layout.text, fields: source === "fields" ? layout.fields : null });

// Take over what the server made of the newest request.
export function accept({ text, fields }) {
  const asked = source;
  source = null;
  if (asked === "fields") {
    layout.text = text;
    announce("text");
  } else if (asked === "text" && fields) {
    layout.fields = fields;
    announce("fields");
  }
}
