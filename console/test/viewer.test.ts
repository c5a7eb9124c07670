// The parts of the viewer that touch no page: where frames lie, which are drawn, what a search finds.
import assert from "node:assert/strict";
import test from "node:test";
import type { FrameTree } from "../src/core/types";
import { highlight, mix } from "../src/viewer/colours";
import { Model, search } from "../src/viewer/model";
import { countThreads, formatThreads, hasThread, parseThreads, toggleThread } from "../src/viewer/threads";
import { firstEndingAfter, paintLevel, Strip } from "../src/viewer/strip";

type Node = [name: string, total: number, below?: Node[]];
const BLACK = 0xff000000;
const WHITE = 0xffffffff;
const WHOLE = { from: 0, to: 1 };

/** As the service sends it: level by level, parents first. */
function makeTree(roots: Node[]): FrameTree {
  const names: string[] = [];
  const nodes = { total: 0, parent: [] as number[], function: [] as number[], cut: [] as number[], selves: [[] as number[]], totals: [[] as number[]] };
  let level = roots.map((node) => ({ node, parent: -1 }));
  while (level.length) {
    const next: typeof level = [];
    for (const { node: [name, total, below = []], parent } of level) {
      if (!names.includes(name)) names.push(name);
      next.push(...below.map((node) => ({ node, parent: nodes.parent.length })));
      nodes.parent.push(parent);
      nodes.function.push(names.indexOf(name));
      nodes.cut.push(0);
      nodes.totals[0].push(total);
      nodes.selves[0].push(total - below.reduce((sum, each) => sum + each[1], 0));
    }
    level = next;
  }
  nodes.total = nodes.parent.length;
  const zeros = names.map(() => 0);
  const functions = { total: names.length, libs: ["App"], files: [""], name: names, lib: zeros, file: zeros, key: names, selves: [zeros], totals: [zeros] };
  const sum = roots.reduce((all, root) => all + root[1], 0);
  return { view: "top-down", by: "none", measure: "samples", products: [""], sums: [sum], has_cpu: false, path_found: 0, groups: [], group_keys: [], functions, nodes };
}

const TREE: Node[] = [["main", 100, [["Join", 60, [["hash", 20], ["main", 10]]], ["read", 30]]]];

function make(roots: Node[] = TREE): Model {
  return new Model(makeTree(roots));
}

function paint(model: Model, level: number, shown = WHOLE, width = 100, ratio = 1): { pixels: number[]; names: string[] } {
  const strip = new Strip(width);
  strip.pixels.fill(WHITE);
  const colours = new Uint32Array(model.size).fill(BLACK);
  const places = paintLevel(strip, model, model.levels[level], shown, colours, ratio, 2);
  return { pixels: [...strip.pixels], names: places.map((place) => model.name(place.node)) };
}

test("the largest frame of a level comes first, below its parent", () => {
  const model = make([["main", 100, [["read", 25], ["Join", 50]]]]);
  assert.deepEqual([...model.levels[1]].map((node) => [model.name(node), model.left[node], model.right[node]]), [["Join", 0, 0.5], ["read", 0.5, 0.75]]);
});

test("a place in a level is found by its x", () => {
  const model = make();
  const level = model.levels[1];
  assert.deepEqual([0, 0.59, 0.6, 0.89, 0.9, 1].map((x) => firstEndingAfter(model, level, x)), [0, 0, 1, 1, 2, 2]);
});

test("a search finds words in names and libraries, in any case; a recursive call counts once", () => {
  const model = make();
  assert.equal(search(model, "  "), null);
  assert.deepEqual([...search(model, "JOIN app")!.functions], [0, 1, 0, 0]);
  assert.equal(search(model, "join")!.share, 0.6);
  assert.equal(search(model, "main")!.share, 1);
  assert.equal(search(model, "app")!.count, 4);
  assert.equal(search(model, "mainapp")!.count, 0);
});

test("a frame is drawn from its left to its right edge, with a gap where there is room", () => {
  const { pixels, names } = paint(make(), 1);
  assert.deepEqual(names, ["Join", "read"]);
  assert.deepEqual([0, 58, 59, 60, 88, 89, 99].map((x) => pixels[x]), [BLACK, BLACK, WHITE, BLACK, BLACK, WHITE, WHITE]);
});

test("what is outside of the window is not drawn", () => {
  const { pixels, names } = paint(make(), 1, { from: 0.7, to: 0.8 });
  assert.deepEqual(names, ["read"]);
  assert.ok(pixels.slice(0, 99).every((pixel) => pixel === BLACK));
  assert.deepEqual(paint(make(), 1, { from: 0.92, to: 1 }), { pixels: new Array(100).fill(WHITE), names: [] });
});

test("of frames that are narrower than can be seen some are drawn, none on others, none outside", () => {
  const many = Array.from({ length: 10_000 }, (_, at): Node => [`f${at}`, 1]);
  const { pixels, names } = paint(make([["main", 10_000, many]]), 1);
  assert.deepEqual(names, []);
  assert.equal(pixels.length, 100);
  assert.ok(pixels.every((pixel) => pixel !== WHITE));
});

test("a pixel that is covered in part is mixed", () => {
  const strip = new Strip(4);
  strip.pixels.fill(WHITE);
  strip.fill(0.5, 2.25, BLACK);
  assert.deepEqual([...strip.pixels].map((pixel) => pixel & 255), [128, 0, 191, 255]);
  assert.ok(strip.pixels.every((pixel) => pixel >>> 24 === 255));
  strip.fill(3.5, 4, BLACK);
  assert.equal(strip.pixels[3] & 255, 128);
});

test("more pixels of a canvas for each of the page draw the same, finer", () => {
  const { pixels } = paint(make(), 1, WHOLE, 200, 2);
  assert.deepEqual([117, 118, 119, 120].map((x) => pixels[x]), [BLACK, WHITE, WHITE, BLACK]);
});

test("without a search colours stay; two pixels are mixed by their share", () => {
  const model = make();
  const colours = new Uint32Array(model.size).fill(BLACK);
  assert.equal(highlight(model, colours, null, false), colours);
  assert.equal(mix(WHITE, BLACK, 0.32), 0xffadadad);
  assert.equal(mix(WHITE, BLACK, 1), BLACK);
});

test("threads: what an address says", () => {
  assert.deepEqual(parseThreads("5,0-2,3,9-7,x,1-"), [[0, 3], [5, 5]]);
  assert.equal(parseThreads("x,,-1"), null);
  assert.equal(formatThreads([[0, 3], [5, 5]]), "0-3,5");
});

test("threads: one of many more than can be listed is taken away, and comes back", () => {
  const without = toggleThread(null, 4, 1000)!;
  assert.deepEqual(without, [[0, 3], [5, 999]]);
  assert.equal(countThreads(without, 1000), 999);
  assert.equal(hasThread(without, 4), false);
  assert.equal(hasThread(without, 700), true);
  assert.equal(toggleThread(without, 4, 1000), null);
  assert.equal(toggleThread([[2, 2]], 2, 6), null);
});

test("threads: what a profile does not have is not counted", () => {
  assert.equal(countThreads([[0, 999]], 6), 6);
  assert.equal(countThreads([[2, 2], [7, 9]], 6), 1);
});
