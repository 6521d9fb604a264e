/** Which row is nearest to a point of the map, and which rows lie within a polygon. */

const SIDE = 128; // cells along each side of the map

const cellOf = (coordinate) => Math.min(SIDE - 1, Math.max(0, Math.floor(coordinate * SIDE)));

export class SpatialIndex {
  /** `positions` are x and y of each row in turn, 0 to 1. */
  constructor(positions) {
    this.positions = positions;
    this.count = positions.length / 2;
    this.sortByCell();
  }

  // A counting sort: the rows of a cell are sorted[starts[cell]] to sorted[starts[cell + 1]].
  sortByCell() {
    const { positions, count } = this;
    const cells = new Uint16Array(count);
    this.starts = new Uint32Array(SIDE * SIDE + 1);
    for (let row = 0; row < count; row++) {
      cells[row] = cellOf(positions[2 * row]) + SIDE * cellOf(positions[2 * row + 1]);
      this.starts[cells[row] + 1] += 1;
    }
    for (let cell = 0; cell < SIDE * SIDE; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice(0, -1);
    this.sorted = new Uint32Array(count);
    for (let row = 0; row < count; row++) {
      this.sorted[next[cells[row]]] = row;
      next[cells[row]] += 1;
    }
  }

  /** The nearest row within `reach` of a point, among those that `accepts(row)`; or -1. */
  nearest(x, y, reach, accepts) {
    let nearest = -1;
    let least = reach * reach;
    for (let line = cellOf(y - reach); line <= cellOf(y + reach); line++) {
      for (let column = cellOf(x - reach); column <= cellOf(x + reach); column++) {
        const cell = column + SIDE * line;
        for (let at = this.starts[cell]; at < this.starts[cell + 1]; at++) {
          const row = this.sorted[at];
          const dx = this.positions[2 * row] - x;
          const dy = this.positions[2 * row + 1] - y;
          const squared = dx * dx + dy * dy;
          if (squared < least && accepts(row)) {
            nearest = row;
            least = squared;
          }
        }
      }
    }
    return nearest;
  }

  /** The distance of a row's nearest neighbor that does not share its position. */
  nearestDistance(row) {
    const [x, y] = this.positions.subarray(2 * row, 2 * row + 2);
    const isElsewhere = (other) =>
      this.positions[2 * other] !== x || this.positions[2 * other + 1] !== y;
    // The reach grows until there is a neighbor within it.
    for (let reach = 1 / SIDE; reach < 2; reach *= 2) {
      const other = this.nearest(x, y, reach, isElsewhere);
      if (other < 0) continue;
      return Math.hypot(this.positions[2 * other] - x, this.positions[2 * other + 1] - y);
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The rows within a polygon, `[[x, y], ...]`, among those that `accepts(row)`. */
  within(polygon, accepts) {
    const xs = polygon.map(([x]) => x);
    const ys = polygon.map(([, y]) => y);
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
    const rows = [];
    for (let row = 0; row < this.count; row++) {
      const x = this.positions[2 * row];
      const y = this.positions[2 * row + 1];
      const inBounds = x >= left && x <= right && y >= top && y <= bottom;
      if (inBounds && accepts(row) && isInside(x, y, polygon)) rows.push(row);
    }
    return rows;
  }
}

// A ray from the point to the right crosses the outline an odd number of times if it is inside.
function isInside(x, y, polygon) {
  let inside = false;
  let [previousX, previousY] = polygon.at(-1);
  for (const [cornerX, cornerY] of polygon) {
    const straddles = cornerY > y !== previousY > y;
    if (straddles) {
      const slope = (previousX - cornerX) / (previousY - cornerY);
      if (x < slope * (y - cornerY) + cornerX) inside = !inside;
    }
    [previousX, previousY] = [cornerX, cornerY];
  }
  return inside;
}
