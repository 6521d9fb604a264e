// Rows of pictures of one height that fill the width, as on a contact sheet.

const NARROWEST = 0.45, WIDEST = 3.2;

const ratio = ({ width, height }) => Math.min(WIDEST, Math.max(NARROWEST, width && height ? width / height : 1));

/**
 * Lay rows out in a width. Returns the whole height, the lines (first, end, top, height), and for each
 * picture its left, top, width and height.
 */
export function justify(rows, width, wanted, gap) {
  const boxes = new Array(rows.length), lines = [];
  let first = 0, sum = 0, top = 0;
  const close = (end, height) => {
    let left = 0;
    for (let index = first; index < end; index++) {
      const across = ratio(rows[index]) * height;
      // The last picture of a full line takes what rounding left.
      boxes[index] = { left, top, width: across, height };
      left += across + gap;
    }
    lines.push({ first, end, top, height });
    top += height + gap;
    [first, sum] = [end, 0];
  };
  const filling = (total, count) => (width - gap * (count - 1)) / total;
  for (let index = 0; index < rows.length; index++) {
    const next = ratio(rows[index]), count = index - first;
    // A line ends before or after this picture, whichever comes nearer to the height that is wanted.
    if (count && filling(sum + next, count + 1) < wanted) {
      const without = filling(sum, count), within = filling(sum + next, count + 1);
      if (without - wanted < wanted - within && without < 1.5 * wanted) close(index, without);
      else { sum += next; close(index + 1, within); continue; }
    }
    sum += next;
  }
  if (first < rows.length) close(rows.length, Math.min(wanted, filling(sum, rows.length - first)));
  return { boxes, lines, height: Math.max(0, top - gap) };
}

/** The picture that lies next to one in a direction, by where they are, or the same one at the edge. */
export function neighbour({ boxes, lines }, index, direction) {
  const last = boxes.length - 1;
  if (direction === "ArrowRight") return Math.min(last, index + 1);
  if (direction === "ArrowLeft") return Math.max(0, index - 1);
  if (direction === "Home") return 0;
  if (direction === "End") return last;
  const line = lines.findIndex(({ end }) => index < end);
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 4, PageUp: -4 }[direction];
  const target = lines[Math.min(lines.length - 1, Math.max(0, line + step))];
  if (target === lines[line]) return index;
  const middle = boxes[index].left + boxes[index].width / 2;
  const away = (other) => Math.abs(boxes[other].left + boxes[other].width / 2 - middle);
  let nearest = target.first;
  for (let other = target.first; other < target.end; other++) if (away(other) < away(nearest)) nearest = other;
  return nearest;
}
