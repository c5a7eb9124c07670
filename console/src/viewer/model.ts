// A call tree ready to be drawn: columns, with a place for each node. Nothing here touches the page.
import { cleanName } from "../core/format";
import type { FrameTree } from "../core/types";

export class Model {
  readonly size: number;
  readonly parent: Int32Array;
  readonly depth: Uint16Array;
  /** From 0 to 1 across the whole graph. */
  readonly left: Float64Array;
  readonly right: Float64Array;
  readonly children: number[][];
  readonly roots: number[];
  /** The nodes of each level, from left to right. */
  readonly levels: Int32Array[] = [];
  readonly whole: number;
  readonly isDiff: boolean;
  private searched: string[] | null = null;

  constructor(readonly answer: FrameTree) {
    const { parent, totals } = answer.nodes;
    this.size = parent.length;
    this.parent = Int32Array.from(parent);
    this.depth = new Uint16Array(this.size);
    this.left = new Float64Array(this.size);
    this.right = new Float64Array(this.size);
    this.isDiff = totals.length > 1;
    this.children = Array.from({ length: this.size }, () => []);
    this.roots = [];
    for (let node = 0; node < this.size; node += 1) (parent[node] < 0 ? this.roots : this.children[parent[node]]).push(node);
    const isWhole = answer.view === "top-down" || answer.view === "bottom-up";
    this.whole = (isWhole ? answer.sums[0] : this.roots.reduce((sum, root) => sum + totals[0][root], 0)) || 1;
    this.place();
  }

  private place(): void {
    const total = this.answer.nodes.totals[0];
    // Two columns: what is in one profile alone must have a place too.
    const order = (a: number, b: number) => total[b] - total[a] || this.name(a).localeCompare(this.name(b));
    let nodes = this.roots.sort(order);
    let at = 0;
    for (const root of nodes) at = this.put(root, at, 0);
    for (let depth = 0; nodes.length; depth += 1) {
      this.levels.push(Int32Array.from(nodes));
      const below: number[] = [];
      for (const node of nodes) {
        let x = this.left[node];
        for (const child of this.children[node].sort(order)) {
          x = this.put(child, x, depth + 1);
          below.push(child);
        }
      }
      nodes = below;
    }
  }

  private put(node: number, x: number, depth: number): number {
    this.depth[node] = depth;
    this.left[node] = x;
    this.right[node] = x + this.answer.nodes.totals[0][node] / this.whole;
    return this.right[node];
  }

  /** What a search looks at, of each function: its name and library, in small letters. */
  get texts(): string[] {
    const { name, lib, libs } = this.answer.functions;
    return (this.searched ??= name.map((each, row) => `${each}\n${libs[lib[row]]}`.toLowerCase()));
  }

  isGroup(node: number): boolean {
    return this.answer.nodes.function[node] < -1;
  }

  /** The row of its function; -1 for a group. */
  functionOf(node: number): number {
    return Math.max(-1, this.answer.nodes.function[node]);
  }

  name(node: number): string {
    const number = this.answer.nodes.function[node];
    return cleanName(number < -1 ? this.answer.groups[-2 - number] : this.answer.functions.name[number]);
  }

  lib(node: number): string {
    const row = this.functionOf(node);
    return row < 0 ? "" : this.answer.functions.libs[this.answer.functions.lib[row]];
  }

  key(node: number): string {
    const number = this.answer.nodes.function[node];
    return number < -1 ? this.answer.group_keys[-2 - number] : this.answer.functions.key[number];
  }

  total(node: number, column = 0): number {
    return this.answer.nodes.totals[column][node];
  }

  self(node: number, column = 0): number {
    return this.answer.nodes.selves[column][node];
  }

  isCut(node: number): boolean {
    return this.answer.nodes.cut[node] === 1;
  }

  /** The nodes from the root down to this one. */
  line(node: number): number[] {
    const found: number[] = [];
    for (let at = node; at >= 0; at = this.parent[at]) found.unshift(at);
    return found;
  }

  path(node: number): string[] {
    return this.line(node).map((each) => this.key(each));
  }

  /** The node that a path leads to, as far as it is here; -1: not even its first frame. */
  find(path: string[]): number {
    let found = -1;
    let here = this.roots;
    for (const key of path) {
      const next = here.find((node) => this.key(node) === key);
      if (next === undefined) break;
      found = next;
      here = this.children[next];
    }
    return found;
  }

  /** Whether something below a node was left out; -1: of the whole. */
  hasCut(node: number): boolean {
    if (node < 0) return this.answer.nodes.total > this.size;
    const stack = [node];
    while (stack.length) {
      const each = stack.pop()!;
      if (this.isCut(each)) return true;
      stack.push(...this.children[each]);
    }
    return false;
  }

  /** What a frame's own time changed by, in shares of all. */
  change(node: number): number {
    const { sums } = this.answer;
    return this.self(node) / (sums[0] || 1) - this.self(node, 1) / (sums[1] || 1);
  }
}

export interface Matches {
  functions: Uint8Array;
  /** Functions that match, and the share of all that lies in them and below. */
  count: number;
  share: number;
}

/** What contains all words; a recursive call counts once. */
export function search(model: Model, text: string): Matches | null {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const { nodes } = model.answer;
  const flags = new Uint8Array(model.texts.length);
  let count = 0;
  model.texts.forEach((text, row) => {
    if (!words.every((word) => text.includes(word))) return;
    flags[row] = 1;
    count += 1;
  });
  const inside = new Uint8Array(model.size);
  let sum = 0;
  for (const level of model.levels)
    for (const node of level) {
      const above = model.parent[node];
      const number = nodes.function[node];
      if (above >= 0 && inside[above]) inside[node] = 1;
      else if (number >= 0 && flags[number]) {
        inside[node] = 1;
        sum += nodes.totals[0][node];
      }
    }
  return { functions: flags, count, share: sum / model.whole };
}
