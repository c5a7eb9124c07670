// The call tree as indented text: what the flame graph says, for reading and for screen readers.
import { useEffect, useMemo, useState } from "preact/hooks";
import { formatPoints } from "../core/format";
import { Icon } from "../parts/icons";
import type { Matches, Model } from "./model";
import { Bar, ROW, useWindow } from "./table";

interface Props {
  model: Model;
  zoom: number;
  matches: Matches | null;
  chosen: string;
  onChoose: (key: string) => void;
  /** Ask for what is below a frame that was cut. */
  onLoad: (node: number) => void;
  maxHeight: number;
}

const LEAST_SHARE = 0.5;

export function CallTree(props: Props) {
  const { model, zoom, matches } = props;
  const [open, setOpen] = useState<Set<number>>(new Set());
  const [cursor, setCursor] = useState(0);
  useEffect(() => setOpen(openHot(model, zoom)), [model, zoom]);
  useEffect(() => {
    if (matches) setOpen((before) => new Set([...before, ...findHolders(model, matches)]));
  }, [matches]);
  const rows = useMemo(() => flatten(model, zoom, open), [model, zoom, open]);
  const grid = useWindow(rows.length, props.maxHeight);
  const toggle = (node: number) => {
    if (!model.children[node].length && model.isCut(node)) return props.onLoad(node);
    const next = new Set(open);
    if (!next.delete(node)) next.add(node);
    setOpen(next);
  };
  const move = (place: number) => {
    const at = Math.max(0, Math.min(rows.length - 1, place));
    setCursor(at);
    grid.reveal(at);
    if (rows[at] !== undefined && !model.isGroup(rows[at])) props.onChoose(model.key(rows[at]));
  };
  return (
    <div
      class={`grid calls ${model.isDiff ? "diff" : ""}`} role="treegrid" aria-label="Call tree" tabIndex={0} ref={grid.ref} style={{ maxHeight: `${props.maxHeight}px` }} onScroll={grid.onScroll} aria-rowcount={rows.length + 1}
      onKeyDown={(event) => {
        const node = rows[cursor];
        if (event.key === "ArrowDown") move(cursor + 1);
        else if (event.key === "ArrowUp") move(cursor - 1);
        else if (event.key === "ArrowRight") open.has(node) || !hasBelow(model, node) ? move(cursor + 1) : toggle(node);
        else if (event.key === "ArrowLeft") open.has(node) ? toggle(node) : move(rows.indexOf(model.parent[node]));
        else if (event.key === "Enter" || event.key === " ") toggle(node);
        else return;
        event.preventDefault();
      }}
    >
      <div class="grid-head" role="row">
        <div role="columnheader" class="end faint">Total</div><div role="columnheader" class="end faint">Self</div>
        {model.isDiff && <div role="columnheader" class="end faint">Change, self</div>}
        <div role="columnheader" class="faint">Function</div>
      </div>
      <div role="rowgroup" style={{ position: "relative", height: `${rows.length * ROW}px` }}>
        {grid.range(rows).map(([node, place]) => (
          <TreeRow key={node} {...props} node={node} place={place} isOpen={open.has(node)} isCursor={place === cursor} toggle={toggle} pick={() => move(place)} base={zoom < 0 ? 0 : model.depth[zoom]} />
        ))}
      </div>
    </div>
  );
}

interface RowProps extends Props {
  node: number;
  place: number;
  base: number;
  isOpen: boolean;
  isCursor: boolean;
  toggle: (node: number) => void;
  pick: () => void;
}

function TreeRow({ model, node, place, base, isOpen, isCursor, toggle, pick, matches, chosen }: RowProps) {
  const row = model.functionOf(node);
  const isHit = matches !== null && row >= 0 && matches.functions[row] === 1;
  const level = model.depth[node] - base;
  const change = model.isDiff ? 100 * model.change(node) : 0;
  return (
    <div
      role="row" aria-level={level + 1} aria-expanded={hasBelow(model, node) ? isOpen : undefined} aria-rowindex={place + 2} aria-selected={isCursor}
      class={`grid-row ${isHit ? "hit" : ""} ${isCursor ? "cursor" : ""} ${model.key(node) === chosen ? "chosen" : ""}`}
      style={{ top: `${place * ROW}px` }} onClick={pick} onDblClick={() => toggle(node)}
    >
      <Bar share={model.total(node) / model.whole} />
      <Bar share={model.self(node) / model.whole} />
      {model.isDiff && <div role="gridcell" class={`end ${change > 0.005 ? "more" : change < -0.005 ? "less" : "faint"}`}>{formatPoints(change)}</div>}
      <div role="gridcell" class="tree-cell" style={{ paddingLeft: `${Math.min(level, 60) * 13}px` }}>
        {hasBelow(model, node) ? (
          <button type="button" tabIndex={-1} aria-label={isOpen ? "Close" : "Open"} onClick={(event) => { event.stopPropagation(); toggle(node); }}><Icon name={isOpen ? "down" : "chevron"} /></button>
        ) : <span class="indent" />}
        <span class="clip fn name" title={model.name(node)}>{model.name(node)}</span>
        <span class="clip lib name">{model.lib(node)}</span>
      </div>
    </div>
  );
}

function hasBelow(model: Model, node: number): boolean {
  return model.children[node]?.length > 0 || model.isCut(node);
}

function startsOf(model: Model, zoom: number): number[] {
  return zoom < 0 ? model.roots : [zoom];
}

function flatten(model: Model, zoom: number, open: Set<number>): number[] {
  const rows: number[] = [];
  const stack = [...startsOf(model, zoom)].reverse();
  while (stack.length) {
    const node = stack.pop()!;
    rows.push(node);
    if (open.has(node)) for (let at = model.children[node].length - 1; at >= 0; at -= 1) stack.push(model.children[node][at]);
  }
  return rows;
}

/** Opened from the start: the way along which nearly all is spent, and one level more. */
function openHot(model: Model, zoom: number): Set<number> {
  const open = new Set<number>();
  let here = startsOf(model, zoom);
  while (here.length && open.size < 200) {
    const hottest = here[0];
    open.add(hottest);
    const below = model.children[hottest];
    if (!below.length || model.total(below[0]) < LEAST_SHARE * model.total(hottest)) break;
    here = below;
  }
  return open;
}

/** Frames with a match below them, as long as they are not too many to be read. */
function findHolders(model: Model, matches: Matches): number[] {
  const found = new Set<number>();
  for (let node = 0; node < model.size && found.size < 400; node += 1) {
    const row = model.functionOf(node);
    if (row < 0 || !matches.functions[row]) continue;
    for (let at = model.parent[node]; at >= 0 && !found.has(at); at = model.parent[at]) found.add(at);
  }
  return [...found];
}
