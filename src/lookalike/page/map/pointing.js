// The map under the pointer, the fingers and the keys: moving, hovering, choosing, and the lasso.

import * as api from "../api.js";
import { colourOf, collection } from "../collections.js";
import { $, h, nameOf } from "../dom.js";

const STILL = 5; // CSS pixels within which a press is a click

/** `acts` are onChoose(row) and onSelect(rows | null). */
export function point(plane, card, acts) {
  const { canvas, camera, points } = plane, pointers = new Map(), names = new Map();
  let travelled = 0, lassoing = false, chosen = false, timer = 0, touch = false;

  const spot = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const choose = (row) => { still(); acts.onChoose({ id: points.ids[row] }); };

  // ---- the card ---------------------------------------------------------------------------------------------------

  function hover(row, x = 0, y = 0) {
    if (row !== plane.hovered) {
      plane.hovered = row;
      canvas.classList.toggle("over", row >= 0 && !chosen);
      card.hidden = row < 0;
      clearTimeout(timer);
      if (row >= 0) fill(row);
      plane.redraw();
    }
    if (row >= 0) lay(row, x, y);
  }

  function fill(row) {
    const id = points.ids[row], label = points.labelOf(row), image = h("img", { alt: "" }), name = h("b", {}, names.get(id) ?? " ");
    const far = plane.far?.values[row];
    image.addEventListener("load", () => image.classList.add("ready"));
    image.src = api.thumbnail(collection().name, id, 256);
    card.replaceChildren(h("span", { class: "shot" }, image), name,
      h("span", { class: "label" }, h("i", { style: { "--colour": colourOf(label) } }), label ?? "no label", far === undefined || Number.isNaN(far) ? "" : ` · ${far.toFixed(3)}`),
      touch ? h("span", { class: "tap" }, "Search by it") : "");
    card.onclick = () => choose(row);
    if (names.has(id)) return;
    timer = setTimeout(async () => {
      try {
        const known = await api.row(collection().name, id);
        names.set(id, nameOf(known));
        name.textContent = names.get(id);
      } catch { /* The card does without the name. */ }
    }, 70);
  }

  function lay(row, x, y) {
    const image = plane.drawn.find(([other]) => other === row), { width, height } = card.getBoundingClientRect();
    const [from, to] = image ? [image[1] - 12, image[1] + image[3] + 12] : [x - 18, x + 18];
    const left = to + width > camera.width - 8 ? from - width : to;
    card.style.transform = `translate(${Math.max(8, Math.min(left, camera.width - width - 8))}px, ${Math.min(Math.max(8, y - height / 2), camera.height - height - 8)}px)`;
  }

  function still() { hover(-1); }

  // ---- the lasso --------------------------------------------------------------------------------------------------

  function lasso(on = !chosen) {
    chosen = on;
    $("#lasso").setAttribute("aria-pressed", String(on));
    canvas.classList.toggle("lassoing", on);
  }

  function clear() {
    plane.lasso = null;
    lasso(false);
    acts.onSelect(null);
  }

  function close() {
    const polygon = plane.lasso.map(([x, y]) => [camera.placeX(x), camera.placeY(y)]);
    plane.lasso = null;
    lassoing = false;
    lasso(false);
    const rows = polygon.length > 2 ? points.within(polygon, plane.shown) : [];
    acts.onSelect(rows.length ? rows : null);
    plane.redraw();
  }

  // ---- pointers ---------------------------------------------------------------------------------------------------

  const on = (name, listener, settings) => canvas.addEventListener(name, listener, settings);
  on("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touch = event.pointerType === "touch";
    pointers.set(event.pointerId, spot(event));
    if (pointers.size > 1) { [plane.lasso, lassoing] = [null, false]; return; }
    travelled = 0;
    lassoing = chosen || event.shiftKey;
    if (lassoing) plane.lasso = [spot(event)];
  });
  on("pointermove", (event) => {
    const before = pointers.get(event.pointerId), at = spot(event);
    if (!before) { if (event.pointerType !== "touch") hover(chosen ? -1 : plane.at(...at), ...at); return; }
    pointers.set(event.pointerId, at);
    travelled += Math.hypot(at[0] - before[0], at[1] - before[1]);
    if (travelled < STILL) return;
    still();
    if (lassoing) { plane.lasso.push(at); plane.redraw(); return; }
    canvas.classList.add("dragged");
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) { camera.go(camera.moved(before[0] - at[0], before[1] - at[1])); return; }
    const spread = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
    camera.go(camera.zoomed(spread(at) / spread(before) || 1, ...other));
  });
  const released = (event) => {
    const at = spot(event), tapped = pointers.delete(event.pointerId) && travelled < STILL && event.type === "pointerup" && event.button === 0;
    if (!pointers.size) canvas.classList.remove("dragged");
    if (lassoing) { close(); return; }
    if (!tapped) return;
    const row = plane.at(...at, touch ? 24 : 14);
    if (row < 0) { still(); return; }
    // A finger cannot point without pressing: its first tap is the pointing.
    if (touch) hover(row, ...at);
    else choose(row);
  };
  on("pointerup", released);
  on("pointercancel", released);
  on("pointerleave", (event) => event.pointerType !== "touch" && event.relatedTarget !== card && still());
  card.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && still());
  on("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    // A trackpad's pinch comes as a wheel with Ctrl held, in small steps.
    const amount = event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016);
    still();
    camera.go(camera.zoomed(Math.exp(-Math.max(-1, Math.min(1, amount))), ...spot(event)));
  }, { passive: false });
  on("dblclick", (event) => event.preventDefault());
  on("blur", (event) => event.relatedTarget !== card && still());

  // ---- keys -------------------------------------------------------------------------------------------------------

  const middle = () => {
    const row = points.nearest(camera.x, camera.y, 0.25 * camera.whole / camera.scale, plane.shown);
    if (row >= 0 && document.activeElement === canvas) hover(row, camera.screenX(points.places[2 * row]), camera.screenY(points.places[2 * row + 1]));
  };
  on("keydown", (event) => { if (event.key === "Enter" && plane.hovered >= 0) choose(plane.hovered); });

  function key(event) {
    const step = 90, fly = (next) => { camera.fly(next); setTimeout(middle, 320); };
    const keys = {
      ArrowLeft: () => fly(camera.moved(-step, 0)), ArrowRight: () => fly(camera.moved(step, 0)), ArrowUp: () => fly(camera.moved(0, -step)), ArrowDown: () => fly(camera.moved(0, step)),
      "+": () => fly(camera.zoomed(1.6)), "=": () => fly(camera.zoomed(1.6)), "-": () => fly(camera.zoomed(1 / 1.6)), 0: () => fly(camera.all()), l: () => lasso(),
    };
    if (event.key === "Escape" && (chosen || plane.selected)) { clear(); return true; }
    if (!Object.hasOwn(keys, event.key)) return false;
    still();
    keys[event.key]();
    return true;
  }

  return { key, still, lasso, clear, stop: () => clearTimeout(timer) };
}
