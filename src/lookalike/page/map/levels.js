/** Which rows are shown as images at each level of zoom, so that no two images overlap. */

const FRAME_BUDGET = 6; // milliseconds of a frame that may be spent here
const CHUNK = 4096; // rows between two looks at the clock
const MAX_DENSE_CELLS = 1 << 22; // a larger grid is kept as a map of its occupied cells

export class Levels {
  constructor(positions) {
    this.positions = positions;
    this.setCandidates([]);
  }

  /** Set the rows that may be images, the most wanted first. */
  setCandidates(rows) {
    this.candidates = rows;
    this.restart();
  }

  /** Start over, after the candidates or the spacing changed. */
  restart() {
    this.levels = [];
    this.working = null;
    this.unfinished = false;
  }

  /**
   * The rows that are images at a level; `spacing(level)` is how far apart images must lie.
   *
   * Each level keeps the images of the one before, so that zooming in never removes an image, and
   * adds those that have room. The work stops after a few milliseconds: then the deepest finished
   * level is returned, and `unfinished` says that another call goes on with it.
   */
  at(level, spacing) {
    const deadline = performance.now() + FRAME_BUDGET;
    while (this.levels.length <= level) {
      this.working ??= this.spread(this.levels.at(-1) ?? [], spacing(this.levels.length));
      const { done, value } = this.working.next();
      if (done) {
        this.levels.push(value);
        this.working = null;
      } else if (performance.now() > deadline) {
        break;
      }
    }
    this.unfinished = this.levels.length <= level;
    const deepest = Math.min(level, this.levels.length - 1);
    return this.levels[deepest] ?? [];
  }

  // A generator, so that a frame can be drawn in between.
  *spread(previous, spacing) {
    if (previous.length === this.candidates.length) return previous;
    const grid = new OccupancyGrid(this.positions, spacing);
    const chosen = new Uint8Array(this.positions.length / 2);
    const rows = [];
    const addIfFree = (row) => {
      if (chosen[row] || !grid.add(row)) return;
      chosen[row] = 1;
      rows.push(row);
    };
    previous.forEach(addIfFree);
    yield;
    for (let at = 0; at < this.candidates.length; at++) {
      addIfFree(this.candidates[at]);
      if (at % CHUNK === CHUNK - 1) yield;
    }
    return rows;
  }
}

/** A grid with cells as wide as the spacing: only the 9 cells around a row can hold a conflict. */
class OccupancyGrid {
  constructor(positions, spacing) {
    this.positions = positions;
    this.spacing = spacing;
    this.columns = Math.ceil(1 / spacing) + 3; // one cell of margin on each side
    const cells = this.columns * this.columns;
    this.occupant = cells <= MAX_DENSE_CELLS ? denseCells(cells) : sparseCells();
  }

  /** Add a row if it has room; return whether it had. */
  add(row) {
    const { positions, spacing, columns, occupant } = this;
    const x = positions[2 * row];
    const y = positions[2 * row + 1];
    const column = Math.floor(x / spacing) + 1;
    const line = Math.floor(y / spacing) + 1;
    for (let down = line - 1; down <= line + 1; down++) {
      for (let across = column - 1; across <= column + 1; across++) {
        const other = occupant.get(down * columns + across);
        if (other < 0) continue;
        const dx = Math.abs(positions[2 * other] - x);
        const dy = Math.abs(positions[2 * other + 1] - y);
        if (dx < spacing && dy < spacing) return false;
      }
    }
    occupant.set(line * columns + column, row);
    return true;
  }
}

function denseCells(count) {
  const cells = new Int32Array(count).fill(-1);
  return {
    get: (cell) => cells[cell],
    set: (cell, row) => {
      cells[cell] = row;
    },
  };
}

function sparseCells() {
  const cells = new Map();
  return { get: (cell) => cells.get(cell) ?? -1, set: (cell, row) => cells.set(cell, row) };
}
