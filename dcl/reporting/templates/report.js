"use strict";

// one dataset at a time; all of them without this script, and on paper
const choice = document.getElementById("choice");
const datasets = [...document.querySelectorAll(".dataset")];

function show(id) {
  for (const each of datasets) each.hidden = each.id !== id;
  choice.value = id;
}

function follow() {
  const id = location.hash.slice(1);
  if (!datasets.some((each) => each.id === id)) return;
  show(id);
  document.getElementById(id).scrollIntoView();
}

show(datasets[0].id);
choice.addEventListener("change", () => show(choice.value));
choice.closest(".choice").hidden = datasets.length < 2;
window.addEventListener("hashchange", follow);
follow();

// what is under the pointer, or under the arrow keys
function places(mark) {
  if (mark.tagName === "circle") return [{ x: mark.cx.baseVal.value, y: mark.cy.baseVal.value }];
  return [...mark.points].map(({ x, y }) => ({ x, y }));
}

for (const svg of document.querySelectorAll(".chart svg")) {
  const tip = svg.parentElement.querySelector(".tip");
  const focus = svg.querySelector(".focus");
  let marks = null;
  let at = null; // index of the mark, and of its point

  const read = () =>
    (marks ??= [...svg.querySelectorAll(".mark")].map((mark) => ({
      mark, points: places(mark), values: mark.dataset.values.split("|"), name: mark.dataset.name,
    })));

  function look(m, p) {
    const { mark, points, values, name } = read()[m];
    at = [m, p];
    svg.classList.add("looking");
    for (const each of marks) each.mark.classList.toggle("on", each.mark === mark);
    focus.setAttribute("cx", points[p].x);
    focus.setAttribute("cy", points[p].y);
    focus.setAttribute("visibility", "visible");
    const title = document.createElement("b");
    title.textContent = name;
    tip.replaceChildren(title, values[p]);
    tip.hidden = false;
    const scale = svg.clientWidth / svg.viewBox.baseVal.width;
    const [x, y] = [points[p].x * scale, points[p].y * scale];
    tip.style.left = `${x + tip.offsetWidth + 14 > svg.clientWidth ? Math.max(0, x - tip.offsetWidth - 12) : x + 12}px`;
    tip.style.top = `${Math.max(0, y - tip.offsetHeight - 8)}px`;
  }

  function leave() {
    at = null;
    tip.hidden = true;
    focus.setAttribute("visibility", "hidden");
    svg.classList.remove("looking");
    for (const { mark } of read()) mark.classList.remove("on");
  }

  svg.addEventListener("pointermove", (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = Infinity;
    let found = null;
    read().forEach(({ points }, m) => {
      let p = 0;
      points.forEach((point, i) => { if (Math.abs(point.x - x) < Math.abs(points[p].x - x)) p = i; });
      const distance = Math.hypot(points[p].x - x, points[p].y - y);
      if (distance < best) [best, found] = [distance, [m, p]];
    });
    if (found) look(...found);
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (event.key === "Escape") leave();
    if (!step || !read().length) return;
    event.preventDefault();
    const [m, p] = at ? [(at[0] + step[0] + marks.length) % marks.length, at[1] + step[1]] : [0, 0];
    look(m, Math.min(Math.max(p, 0), marks[m].points.length - 1));
  });
}
