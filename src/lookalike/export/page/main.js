/** An exported map: a page of one file, which needs neither a server nor the network. */

import { $ } from "../../page/dom.js";
import { followTheme, MapView } from "../../page/map/view.js";
import { EmbeddedMapData } from "./embedded.js";
import { Viewer } from "./viewer.js";

const data = new EmbeddedMapData(JSON.parse($("#data").textContent));
const viewer = new Viewer(data);
const label =
  `${data.title}. Arrow keys move, plus and minus zoom, 0 shows all, l draws a lasso, ` +
  "slash searches, Enter shows the image in the middle.";
const view = new MapView($("#map-view"), data, { label }, { onChoose: (row) => viewer.open(row) });
followTheme(() => view);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || viewer.isOpen) return;
  const isTyping = event.target.closest?.("input");
  if (isTyping && event.key !== "Escape") return;
  if (isTyping) $("#map-canvas").focus();
  if (view.key(event.key)) event.preventDefault();
});
