
// ---- pointers and keys --------------------------------------------------------------------------------------

const pointers = new Map();
let travelled = 0;

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  if (pointers.size === 1) travelled = 0;
});

canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) {
    hover(rowAt(event.clientX, event.clientY), event.clientX, event.clientY);
    return;
  }
  const at = [event.clientX, event.clientY], others = [...pointers].filter(([id]) => id !== event.pointerId);
  pointers.set(event.pointerId, at);
  travelled += Math.hypot(at[0] - before[0], at[1] - before[1]);
  if (travelled < 5) return;
  hover(-1);
  canvas.classList.add("dragged");
  if (others.length) {
    const [, other] = others[0];
    const factor = Math.hypot(at[0] - other[0], at[1] - other[1]) / Math.hypot(before[0] - other[0], before[1] - other[1]);
    go(zoomed(factor || 1, other[0], other[1]));
  } else {
    go({ ...view, x: view.x - (at[0] - before[0]) / view.scale, y: view.y - (at[1] - before[1]) / view.scale });
  }
});

function released(event) {
  const tapped = pointers.delete(event.pointerId) && travelled < 5 && event.type === "pointerup" && event.button === 0;
  if (!pointers.size) canvas.classList.remove("dragged");
  const row = tapped ? rowAt(event.clientX, event.clientY) : -1;
  if (row >= 0) openViewer(row);
}
canvas.addEventListener("pointerup", released);
canvas.addEventListener("pointercancel", released);
canvas.addEventListener("pointerleave", () => hover(-1));

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  // A trackpad's pinch comes as a wheel with Ctrl held, in small steps.
  const amount = event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016);
  hover(-1);
  go(zoomed(Math.exp(-Math.max(-1, Math.min(1, amount))), event.clientX, event.clientY));
}, { passive: false });

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#viewer").open) return;
  const typing = event.target === $("#query");
  if (event.key === "Escape") {
    hover(-1);
    if (matches) { $("#query").value = ""; search(); }
    if (typing) canvas.focus();
    return;
  }
  if (typing) return;
  const step = 90 / view.scale, [x, y] = [view.x, view.y];
  const actions = {
    ArrowLeft: () => fly({ ...view, x: x - step }), ArrowRight: () => fly({ ...view, x: x + step }),
    ArrowUp: () => fly({ ...view, y: y - step }), ArrowDown: () => fly({ ...view, y: y + step }),
    "+": () => fly(zoomed(1.6)), "=": () => fly(zoomed(1.6)), "-": () => fly(zoomed(1 / 1.6)), _: () => fly(zoomed(1 / 1.6)),
    0: () => fly(whole()), "/": () => $("#query").select(),
  };
  if (!Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  hover(-1);
  actions[event.key]();
});

$("#in").addEventListener("click", () => fly(zoomed(1.8)));
$("#out").addEventListener("click", () => fly(zoomed(1 / 1.8)));
$("#fit").addEventListener("click", () => fly(whole()));

// ---- one image ----------------------------------------------------------------------------------------------

function openViewer(row) {
  const viewer = $("#viewer"), small = viewer.querySelector("canvas"), original = viewer.querySelector("img");
  const link = linkOf(row), local = link.startsWith("file:///"), here = location.protocol === "file:";
  hover(-1);
  small.hidden = false;
  original.hidden = true;
  const largest = Math.min(innerWidth - 64, innerHeight * 0.5, 420);
  paint(small, row, largest);
  small.setAttribute("aria-label", data.names[row]);
  viewer.querySelector("h2").textContent = data.names[row];
  setLabel(viewer.querySelector(".label"), row);
  viewer.querySelector(".path").textContent = pathOf(row);
  const anchor = viewer.querySelector("a");
  // A page from the web may not lead to files.
  anchor.hidden = !link || (local && !here);
  if (anchor.hidden) anchor.removeAttribute("href");
  else anchor.href = link;
  original.onload = original.onerror = null;
  original.removeAttribute("src");
  if (local && here) {
    original.onload = () => { small.hidden = true; original.hidden = false; };
    original.alt = data.names[row];
    original.src = link;
  }
  viewer.showModal();
}

$("#close").addEventListener("click", () => $("#viewer").close());
$("#viewer").addEventListener("click", (event) => event.target === $("#viewer") && $("#viewer").close());

// ---- search -------------------------------------------------------------------------------------------------

const words = data.names.map((name, row) => `${name}\n${data.texts[row] ?? labelOf(row).name}`.toLocaleLowerCase());

function search() {
  const query = $("#query").value.trim().toLocaleLowerCase();
  matches = query ? data.order.filter((row) => words[row].includes(query)) : null;
  found = matches && new Set(matches);
  $("#found").hidden = !matches;
  if (matches) list([...matches].sort((a, b) => a - b));
  repool();
}

function list(rows) {
  const more = rows.length > LISTED ? `, the first ${LISTED} listed` : "";
  $("#count").textContent = `${rows.length.toLocaleString("en")} found${more}`;
  $("#results").replaceChildren(...rows.slice(0, LISTED).map((row) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const picture = document.createElement("canvas"), name = document.createElement("b"), label = document.createElement("span");
    button.type = "button";
    name.textContent = data.names[row];
    label.textContent = data.texts[row] ?? labelOf(row).name;
    paint(picture, row, 34);
    button.append(picture, name, label);
    button.addEventListener("click", () => { fly(around([row])); openViewer(row); });
    button.addEventListener("focus", () => { hovered = row; redraw(); });
    button.addEventListener("mouseenter", () => { hovered = row; redraw(); });
    button.addEventListener("mouseleave", () => hover(-1));
    item.append(button);
    return item;
  }));
}

$("#query").addEventListener("input", search);
$("#query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches?.length) fly(around(matches));
});

// ---- legend -------------------------------------------------------------------------------------------------

function toggled() {
  document.querySelectorAll("#legend .toggle").forEach((button, index) => button.setAttribute("aria-pressed", !off.has(index)));
  $("#all").hidden = !off.size;
  repool();
}

$("#legend").append(...data.labels.map((label, index) => {
  const item = document.createElement("li"), toggle = document.createElement("button"), only = document.createElement("button");
  const mark = document.createElement("i"), name = document.createElement("span"), number = document.createElement("small");
  toggle.type = only.type = "button";
  toggle.className = "toggle";
  toggle.setAttribute("aria-pressed", "true");
  toggle.title = label.name;
  mark.style.setProperty("--colour", label.colour);
  name.textContent = label.name;
  number.textContent = label.count.toLocaleString("en");
  toggle.append(mark, name, number);
  toggle.addEventListener("click", () => { if (!off.delete(index)) off.add(index); toggled(); });
  only.className = "only";
  only.textContent = "only";
  only.setAttribute("aria-label", `Show ${label.name} only`);
  only.addEventListener("click", () => {
    data.labels.forEach((_, other) => (other === index ? off.delete(other) : off.add(other)));
    toggled();
  });
  item.append(toggle, only);
  return item;
}));
$("#all").addEventListener("click", () => { off.clear(); toggled(); $("#legend .toggle").focus(); });

// ---- begin --------------------------------------------------------------------------------------------------

$("#labels").open = innerWidth > 640 && data.labels.length > 1;
addEventListener("resize", measure);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", measure);
view.scale = area.whole;
measure();
repool();
