// Values as text, and text as values.

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value ?? ""));
export const tidy = (value, digits) => Number(value.toFixed(digits));
export const words = (name) => name.replaceAll("_", " ");

// A list if it is one; else the text itself, and the server says what is wrong with it.
export function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// A number if it is one; else the text itself, and the server says what is wrong with it.
export function number(text) {
  const value = Number(text.replace("−", "-"));
  return text.trim() && Number.isFinite(value) ? value : text;
}
