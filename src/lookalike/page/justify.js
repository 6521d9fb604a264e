/** Lines of images of one height that fill the width, as on a contact sheet. */

// Very narrow and very wide images are cropped to these ratios.
const MIN_RATIO = 0.45;
const MAX_RATIO = 3.2;
// A line may be taller than wanted by this factor, rather than shorter by more.
const TALLEST = 1.5;

function ratioOf({ width, height }) {
  const ratio = width && height ? width / height : 1;
  return Math.min(MAX_RATIO, Math.max(MIN_RATIO, ratio));
}

/**
 * Lay rows out in lines.
 *
 * @param {{width: number, height: number}[]} rows
 * @param {number} width  The width to fill.
 * @param {number} wanted  The wanted height of a line.
 * @param {number} gap  The space between images and between lines.
 * @param {{at: number, height: number}=} divider  A space above the image of an index, which begins
 *   a line.
 * @returns `height`, the height of all; `lines`, each with `first`, `end`, `top` and `height`;
 *   `boxes`, for each row its `left`, `top`, `width` and `height`; `dividerTop`, if there is one.
 */
export function justify(rows, width, wanted, gap, divider) {
  const ratios = rows.map(ratioOf);
  const boxes = [];
  const lines = [];
  let first = 0;
  let ratioSum = 0; // of the open line
  let top = 0;
  let dividerTop;

  const closeLine = (end, height) => {
    let left = 0;
    for (let index = first; index < end; index++) {
      const across = ratios[index] * height;
      boxes.push({ left, top, width: across, height });
      left += across + gap;
    }
    lines.push({ first, end, top, height });
    top += height + gap;
    first = end;
    ratioSum = 0;
  };
  const fillingHeight = (sum, count) => (width - gap * (count - 1)) / sum;

  const closeLast = (end) => {
    if (first === end) return;
    closeLine(end, Math.min(wanted, fillingHeight(ratioSum, end - first)));
  };

  ratios.forEach((ratio, index) => {
    if (index === divider?.at) {
      closeLast(index);
      dividerTop = top;
      top += divider.height + gap;
    }
    const count = index - first;
    const heightWith = fillingHeight(ratioSum + ratio, count + 1);
    const isFull = count > 0 && heightWith < wanted;
    if (isFull) {
      // The line ends before or after this image, whichever is nearer to the wanted height.
      const heightWithout = fillingHeight(ratioSum, count);
      const isNearer = heightWithout - wanted < wanted - heightWith;
      if (!isNearer || heightWithout >= TALLEST * wanted) {
        closeLine(index + 1, heightWith);
        return;
      }
      closeLine(index, heightWithout);
    }
    ratioSum += ratio;
  });
  closeLast(rows.length);
  return { boxes, lines, height: Math.max(0, top - gap), dividerTop };
}

const LINE_STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 4, PageUp: -4 };

/** The keys that move between images. */
export const MOVE_KEYS = ["ArrowLeft", "ArrowRight", "Home", "End", ...Object.keys(LINE_STEPS)];

/** The index that a key leads to from an index, or the same one at the edge. */
export function neighborIndex({ boxes, lines }, index, key) {
  const last = boxes.length - 1;
  if (key === "ArrowRight") return Math.min(last, index + 1);
  if (key === "ArrowLeft") return Math.max(0, index - 1);
  if (key === "Home") return 0;
  if (key === "End") return last;
  const line = lines.findIndex(({ end }) => index < end);
  const wanted = line + LINE_STEPS[key];
  const target = lines[Math.min(lines.length - 1, Math.max(0, wanted))];
  if (target === lines[line]) return index;
  return nearestAcross(boxes, target, middleOf(boxes[index]));
}

const middleOf = ({ left, width }) => left + width / 2;

function nearestAcross(boxes, line, middle) {
  let nearest = line.first;
  for (let index = line.first; index < line.end; index++) {
    const distance = Math.abs(middleOf(boxes[index]) - middle);
    if (distance < Math.abs(middleOf(boxes[nearest]) - middle)) nearest = index;
  }
  return nearest;
}
