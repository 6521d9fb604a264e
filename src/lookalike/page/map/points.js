// The map's points: where they are, which is nearest, and which are shown as pictures from how near.

const SIDE = 128; // cells of the index along each side
const AT_A_TIME = 6; // milliseconds of a frame for finding out which rows are pictures
const MOST_CELLS = 1 << 22; // of a grid in memory; finer ones are kept as what is taken

export class Points {
  /** `data` is the server's map. */
  constructor(data) {
    this.count = data.ids.length;
    this.ids = data.ids;
    this.places = new Float32Array(2 * this.count);
    for (let row = 0; row < this.count; row++) {
      this.places[2 * row] = data.x[row];
      this.places[2 * row + 1] = data.y[row];
    }
    this.labels = data.labels;
    this.label = data.label;
    this.rows = new Map(data.ids.map((id, row) => [id, row]));
    this.mixed = mixed(this.count);
    this.index();
    this.pool([...this.mixed]);
  }

  labelOf(row) {
    return this.label[row] < 0 ? null : this.labels[this.label[row]];
  }

  // The rows of each cell lie together: starts[cell] to starts[cell + 1] of `sorted`.
  index() {
    const cells = new Uint16Array(this.count), starts = new Uint32Array(SIDE * SIDE + 1);
    for (let row = 0; row < this.count; row++) {
      cells[row] = cellOf(this.places[2 * row]) + SIDE * cellOf(this.places[2 * row + 1]);
      starts[cells[row] + 1] += 1;
    }
    for (let cell = 0; cell < SIDE * SIDE; cell++) starts[cell + 1] += starts[cell];
    const next = starts.slice(0, -1), sorted = new Uint32Array(this.count);
    for (let row = 0; row < this.count; row++) sorted[next[cells[row]]++] = row;
    Object.assign(this, { starts, sorted });
  }

  /** The row that is nearest to a place and not further than `reach`, of those that are `shown`; or -1. */
  nearest(x, y, reach, shown) {
    let found = -1, least = reach * reach;
    for (let down = cellOf(y - reach); down <= cellOf(y + reach); down++) {
      for (let across = cellOf(x - reach); across <= cellOf(x + reach); across++) {
        const cell = across + SIDE * down;
        for (let at = this.starts[cell]; at < this.starts[cell + 1]; at++) {
          const row = this.sorted[at], distance = (this.places[2 * row] - x) ** 2 + (this.places[2 * row + 1] - y) ** 2;
          if (distance < least && shown(row)) [found, least] = [row, distance];
        }
      }
    }
    return found;
  }

  /** Which rows may be pictures, the first before the others. */
  pool(rows) {
    this.candidates = rows;
    this.restart();
  }

  /** Begin the levels anew: how far pictures must lie from one another has changed, or which there may be. */
  restart() {
    [this.levels, this.working] = [[], null];
  }

  /**
   * The rows that are pictures at a level, or at the deepest one before that is found out; `apart(level)` says how far
   * from one another pictures must lie. Each level keeps those of the one before, so that nothing vanishes as one
   * comes nearer, and adds what finds room. Only a few milliseconds go into it: see `unfinished`.
   */
  level(number, apart) {
    const until = performance.now() + AT_A_TIME;
    while (this.levels.length <= number) {
      this.working ??= this.spread(this.levels.at(-1) ?? [], apart(this.levels.length));
      const { done, value } = this.working.next();
      if (done) {
        this.levels.push(value);
        this.working = null;
      } else if (performance.now() > until) break;
    }
    this.unfinished = this.levels.length <= number;
    return this.levels[Math.min(number, this.levels.length - 1)] ?? [];
  }

  // Hands back the control now and then, so that a frame may be drawn between.
  * spread(before, apart) {
    if (before.length === this.candidates.length) return before;
    const { places } = this, columns = Math.ceil(1 / apart) + 3, rows = [], taken = new Uint8Array(this.count);
    const cells = columns * columns <= MOST_CELLS ? dense(columns * columns) : sparse();
    const put = (row) => {
      const x = places[2 * row], y = places[2 * row + 1];
      const column = Math.floor(x / apart) + 1, line = Math.floor(y / apart) + 1;
      for (let down = line - 1; down <= line + 1; down++) {
        for (let across = column - 1; across <= column + 1; across++) {
          const other = cells.get(down * columns + across);
          if (other >= 0 && Math.abs(places[2 * other] - x) < apart && Math.abs(places[2 * other + 1] - y) < apart) return;
        }
      }
      cells.set(line * columns + column, row);
      taken[row] = 1;
      rows.push(row);
    };
    for (const row of before) put(row);
    yield;
    for (let at = 0; at < this.candidates.length; at++) {
      if (!taken[this.candidates[at]]) put(this.candidates[at]);
      if (at % 4096 === 4095) yield;
    }
    return rows;
  }

  /** The rows within a polygon of places, `[[x, y], ...]`, of those that are `shown`. */
  within(polygon, shown) {
    const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y), rows = [];
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let row = 0; row < this.count; row++) {
      const x = this.places[2 * row], y = this.places[2 * row + 1];
      if (x < left || x > right || y < top || y > bottom || !shown(row)) continue;
      let inside = false;
      for (let at = 0, last = polygon.length - 1; at < polygon.length; last = at++) {
        const [ax, ay] = polygon[at], [bx, by] = polygon[last];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
      }
      if (inside) rows.push(row);
    }
    return rows;
  }
}

const cellOf = (place) => Math.min(SIDE - 1, Math.max(0, Math.floor(place * SIDE)));

function dense(count) {
  const cells = new Int32Array(count).fill(-1);
  return { get: (cell) => cells[cell], set: (cell, row) => { cells[cell] = row; } };
}

function sparse() {
  const cells = new Map();
  return { get: (cell) => cells.get(cell) ?? -1, set: (cell, row) => cells.set(cell, row) };
}

// All rows in an order that is the same each time and favours no label.
function mixed(count) {
  const order = Uint32Array.from({ length: count }, (_, row) => row);
  let seed = 1;
  for (let at = count - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}
