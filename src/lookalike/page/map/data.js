/**
 * The data interface of the map. Two sources implement it: `LiveMapData` asks a server, and
 * `EmbeddedMapData` reads what an exported page carries. All per-row arrays share one row order.
 *
 * @typedef {object} MapData
 * @property {string} title
 * @property {string} summary  One line below the title: size, method, quality.
 * @property {number} count  The number of rows.
 * @property {Float32Array} positions  x and y of each row in turn, 0 to 1, y down.
 * @property {MapLabel[]} labels  The legend's entries, in its order.
 * @property {ArrayLike<number>} labelIndex  The index in `labels` of each row.
 * @property {Uint32Array} order  All rows, shuffled: any first part stands for the whole.
 * @property {(row: number) => string} labelName
 * @property {(row: number, position: number) => string} describe
 *   The name of a list's button that chooses a row; `position` is its index in the list.
 * @property {(row: number) => string | null} knownName  A row's name, where it is at hand.
 * @property {(row: number) => Promise<string>} loadName  A row's name, where it is not.
 * @property {(row: number, side: number) => Element} imageElement
 *   An element that shows a row, at least `side` CSS pixels long if such an image exists.
 * @property {Thumbnails} thumbnails  Images to draw on the map.
 * @property {((text: string) => number[])=} search  Rows by name or label, if names are at hand.
 *
 * @typedef {object} MapLabel
 * @property {string} name
 * @property {string} color  `#rrggbb`
 * @property {number} count  The number of rows.
 *
 * @typedef {object} Thumbnails
 * @property {(() => void)} onLoad  Called when another image can be drawn.
 * @property {boolean} isLoaded  Whether all wanted images can be drawn.
 * @property {(row: number, side: number) => Drawable | null} get
 * @property {(rows: number[], side: number) => void} want  The rows that are visible now.
 *
 * @typedef {object} Drawable
 * @property {CanvasImageSource} image
 * @property {number[]} source  Left, top, width and height of the part of `image` to draw.
 * @property {number} ratio  Width by height on the map.
 * @property {number} loadedAt  By the clock of `performance.now()`.
 */

/** All rows in an order that is the same each time and favors no label. */
export function shuffledRows(count) {
  const rows = Uint32Array.from({ length: count }, (_, row) => row);
  // A linear congruential generator (Numerical Recipes) is random enough here.
  let seed = 1;
  for (let at = count - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (at + 1);
    [rows[at], rows[other]] = [rows[other], rows[at]];
  }
  return rows;
}
