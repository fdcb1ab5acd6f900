// The samples: 64 tiles on each page, with their labels and ink boxes.

import { $, element } from "./dom.js";
import { percent } from "./values.js";

const COUNT = 64;
const TILE = 112; // canvas pixels of an image's longer side
const BOX_COLORS = [
  "#60a5fa", "#fb923c", "#34d399", "#e879f9", "#facc15", "#22d3ee", "#f87171", "#a78bfa", "#a3e635",
];

let page = 0;
let shown = null; // the newest samples
const sheet = new OffscreenCanvas(1, 1); // all images, one below the other
const tiles = Array.from({ length: COUNT }, () => {
  const canvas = element("canvas", { width: TILE, height: TILE, aria: { hidden: "true" } });
  const caption = element("figcaption");
  const tile = element("figure", {}, canvas, caption);
  tile.setAttribute("role", "listitem");
  $("grid").append(tile);
  return { tile, caption, pen: canvas.getContext("2d") };
});

export const firstSample = () => page * COUNT;

export function turn(pages) {
  page = Math.max(0, page + pages);
  $("range").value = `${page * COUNT} – ${page * COUNT + COUNT - 1}`;
  $("back").disabled = page === 0;
}

export function showSamples(samples) {
  shown = samples;
  const { digits, overlap } = samples;
  fillSheet(samples);
  drawTiles();
  const far = digits.some((own) => own.some((digit) => digit > 9));
  tiles.forEach(({ tile, caption }, index) => {
    caption.className = far ? "far" : "";
    caption.replaceChildren(...digits[index].map(coloredDigit));
    tile.title = `sample ${samples.first + index}, ${percent(overlap[index])} of the ink lies under two digits or more`;
  });
  const mean = overlap.reduce((sum, share) => sum + share, 0) / COUNT;
  const fact = (name, value) => element("span", {}, name, element("b", { textContent: value }));
  const classes = samples.classes.toLocaleString("en");
  $("facts").replaceChildren(fact("Overlap ", percent(mean)), " · ", fact("Classes ", classes));
  $("facts").title = "Overlap: share of the ink that lies under two digits or more, mean of these 64 samples";
}

function coloredDigit(digit, slot) {
  const made = element("span", { textContent: digit });
  made.style.color = `var(--slot-${slot})`;
  return made;
}

function fillSheet({ images, shape: [height, width, channels = 1] }) {
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  const image = new ImageData(width, height * COUNT);
  for (let place = 0; place < width * height * COUNT; place += 1) {
    for (let color = 0; color < 3; color += 1) {
      image.data[4 * place + color] = bytes[channels * place + (channels > 1 ? color : 0)];
    }
    image.data[4 * place + 3] = 255;
  }
  Object.assign(sheet, { width, height: height * COUNT });
  sheet.getContext("2d").putImageData(image, 0, 0);
}

function drawTiles() {
  const [height, width] = shown.shape;
  const scale = TILE / Math.max(width, height);
  tiles.forEach(({ pen }, index) => {
    Object.assign(pen.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    pen.imageSmoothingEnabled = scale < 1;
    pen.drawImage(sheet, 0, index * height, width, height, 0, 0, pen.canvas.width, pen.canvas.height);
    if ($("boxes").checked) drawBoxes(pen, shown.boxes[index], scale);
  });
}

function drawBoxes(pen, boxes, scale) {
  pen.lineWidth = 3;
  boxes.forEach(([x0, y0, x1, y1], slot) => {
    if (x1 <= x0) return; // a digit that a shorter number lacks
    const [left, top] = [x0 * scale + 1.5, y0 * scale + 1.5];
    pen.strokeStyle = BOX_COLORS[slot];
    pen.strokeRect(left, top, Math.max((x1 - x0) * scale - 3, 1), Math.max((y1 - y0) * scale - 3, 1));
  });
}

$("boxes").addEventListener("input", () => shown && drawTiles());
