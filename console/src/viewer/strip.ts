// One row of frames as pixels. A canvas takes microseconds for each rectangle, and a row may have thousands.
import type { Model } from "./model";

/** The part of the graph that is shown. */
export interface Window {
  from: number;
  to: number;
}

/** In pixels of the canvas, from 0 to its width. */
export interface Place {
  node: number;
  left: number;
  right: number;
}

/** In pixels of a page. */
const LEAST = 0.35;
const NARROWEST = 0.6;
const WITH_GAP = 3;

export class Strip {
  /** As an ImageData has them: red is the lowest byte. */
  readonly pixels: Uint32Array;
  private readonly bytes: Uint8ClampedArray;

  constructor(width: number) {
    this.pixels = new Uint32Array(width);
    this.bytes = new Uint8ClampedArray(this.pixels.buffer);
  }

  /** Pixels of which only a part is covered are mixed. */
  fill(left: number, right: number, colour: number): void {
    const first = Math.floor(left);
    const last = Math.floor(right);
    if (first === last) return this.mix(first, right - left, colour);
    if (left === first) this.pixels[first] = colour;
    else this.mix(first, first + 1 - left, colour);
    for (let x = first + 1; x < last; x += 1) this.pixels[x] = colour;
    if (right > last) this.mix(last, right - last, colour);
  }

  private mix(x: number, share: number, colour: number): void {
    for (let channel = 0; channel < 3; channel += 1) {
      const at = 4 * x + channel;
      this.bytes[at] += (((colour >>> (8 * channel)) & 255) - this.bytes[at]) * share;
    }
  }
}

/** The place in a level of the first node that ends behind x. */
export function firstEndingAfter(model: Model, level: Int32Array, x: number): number {
  let low = 0;
  let high = level.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.right[level[middle]] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Draw one level. The answer: the frames that are wider than `wide` pixels of the page, and `always`. `ratio`: pixels of the canvas for each of the page. */
export function paintLevel(strip: Strip, model: Model, level: Int32Array, shown: Window, colours: Uint32Array, ratio: number, wide: number, always = -1): Place[] {
  const width = strip.pixels.length;
  const scale = width / (shown.to - shown.from);
  const [least, narrowest, withGap] = [LEAST * ratio, NARROWEST * ratio, WITH_GAP * ratio];
  const found: Place[] = [];
  let drawn = -Infinity;
  for (let at = firstEndingAfter(model, level, shown.from); at < level.length; at += 1) {
    const node = level[at];
    if (model.left[node] >= shown.to) break;
    const left = Math.max(0, (model.left[node] - shown.from) * scale);
    const right = Math.min(width, (model.right[node] - shown.from) * scale);
    // What is narrower than can be seen stands with its neighbours in one stroke.
    if (right - drawn < least) continue;
    drawn = right;
    const size = right - left;
    strip.fill(left, Math.min(width, left + (size > withGap ? size - ratio : Math.max(size, narrowest))), colours[node]);
    if (size > wide * ratio || node === always) found.push({ node, left, right });
  }
  return found;
}
