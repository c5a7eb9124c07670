// The functions as a table. Only the rows that can be seen are in the page.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { cleanName, formatPercent, formatPoints, formatSecs, formatCount } from "../core/format";
import type { FrameTree } from "../core/types";

export const ROW = 27;

type Column = "self" | "total" | "name" | "lib" | "change" | "before";

interface Props {
  tree: FrameTree;
  search: string;
  chosen: string;
  onChoose: (key: string) => void;
  onOpen: (key: string) => void;
  maxHeight: number;
}

export function FunctionTable({ tree, search, chosen, onChoose, onOpen, maxHeight }: Props) {
  const isDiff = tree.sums.length > 1;
  const [sort, setSort] = useState<{ by: Column; down: boolean }>({ by: isDiff ? "change" : "self", down: true });
  const rows = useMemo(() => arrange(tree, search, sort.by, sort.down), [tree, search, sort]);
  const grid = useWindow(rows.length, maxHeight);
  const at = rows.findIndex((row) => tree.functions.key[row] === chosen);
  const head = (by: Column, label: string, kind = "end") => (
    <div role="columnheader" class={kind} aria-sort={sort.by === by ? (sort.down ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => setSort({ by, down: sort.by === by ? !sort.down : by !== "name" && by !== "lib" })}>
        {label}{sort.by === by ? (sort.down ? " ↓" : " ↑") : ""}
      </button>
    </div>
  );
  const choose = (place: number) => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, place))];
    if (row === undefined) return;
    onChoose(tree.functions.key[row]);
    grid.reveal(Math.max(0, Math.min(rows.length - 1, place)));
  };
  return (
    <div
      class={`grid functions ${isDiff ? "diff" : ""}`} role="grid" aria-label="Functions" aria-rowcount={rows.length + 1} tabIndex={0} ref={grid.ref} style={{ maxHeight: `${maxHeight}px` }} onScroll={grid.onScroll}
      onKeyDown={(event) => {
        const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 };
        if (event.key in steps) choose(at + steps[event.key]);
        else if (event.key === "Enter" && at >= 0) onOpen(chosen);
        else return;
        event.preventDefault();
      }}
    >
      <div class="grid-head" role="row">
        {isDiff ? <>{head("before", "Before, self", "end extra")}{head("self", "After, self")}{head("change", "Change, self")}{head("total", "After, total", "end extra")}</> : <>
          <div role="columnheader" class="end faint extra">Self</div>{head("self", "Self %")}
          <div role="columnheader" class="end faint extra">Total</div>{head("total", "Total %")}
        </>}
        {head("name", "Function", "")}{head("lib", "Library", "extra")}
      </div>
      <div role="rowgroup" style={{ position: "relative", height: `${rows.length * ROW}px` }}>
        {grid.range(rows).map(([row, place]) => (
          <div
            key={row} role="row" aria-rowindex={place + 2} aria-selected={tree.functions.key[row] === chosen}
            class={`grid-row ${tree.functions.key[row] === chosen ? "chosen" : ""}`} style={{ top: `${place * ROW}px` }}
            onClick={() => onChoose(tree.functions.key[row])} onDblClick={() => onOpen(tree.functions.key[row])}
          >
            {isDiff ? <DiffCells tree={tree} row={row} /> : <Cells tree={tree} row={row} />}
            <div role="gridcell" class="clip fn name" title={cleanName(tree.functions.name[row])}>{cleanName(tree.functions.name[row])}</div>
            <div role="gridcell" class="clip lib name extra">{cleanName(tree.functions.libs[tree.functions.lib[row]])}</div>
          </div>
        ))}
      </div>
      {rows.length === 0 && <p class="pad faint" role="row"><span role="gridcell">No function contains “{search}”.</span></p>}
    </div>
  );
}

function Cells({ tree, row }: { tree: FrameTree; row: number }) {
  const { functions, sums, measure } = tree;
  const self = functions.selves[0][row];
  const total = functions.totals[0][row];
  const show = (value: number) => (measure === "cpu" ? formatSecs(value / 1e6) : formatCount(value));
  return (
    <>
      <div role="gridcell" class="end faint extra">{self ? show(self) : ""}</div>
      <Bar share={self / (sums[0] || 1)} />
      <div role="gridcell" class="end faint extra">{show(total)}</div>
      <Bar share={total / (sums[0] || 1)} />
    </>
  );
}

export function Bar({ share }: { share: number }) {
  return (
    <div role="gridcell" class="bar-cell"><i style={{ width: `${100 * Math.min(1, share)}%` }} /><span>{formatPercent(100 * share)}</span></div>
  );
}

function DiffCells({ tree, row }: { tree: FrameTree; row: number }) {
  const [before, after] = [shareOf(tree, row, 1), shareOf(tree, row, 0)];
  const change = 100 * (after - before);
  return (
    <>
      <div role="gridcell" class="end faint extra">{formatPercent(100 * before)}</div>
      <div role="gridcell" class="end">{formatPercent(100 * after)}</div>
      <div role="gridcell" class={`end ${change > 0.005 ? "more" : change < -0.005 ? "less" : "faint"}`}>{formatPoints(change)}</div>
      <div role="gridcell" class="end faint extra">{formatPercent((100 * tree.functions.totals[0][row]) / (tree.sums[0] || 1))}</div>
    </>
  );
}

function shareOf(tree: FrameTree, row: number, column: number): number {
  return tree.functions.selves[column][row] / (tree.sums[column] || 1);
}

function arrange(tree: FrameTree, search: string, by: Column, down: boolean): number[] {
  const { functions } = tree;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const libs = functions.libs.map((lib) => lib.toLowerCase());
  const rows: number[] = [];
  functions.name.forEach((name, row) => {
    const lower = words.length ? name.toLowerCase() : "";
    if (words.every((word) => lower.includes(word) || libs[functions.lib[row]].includes(word))) rows.push(row);
  });
  const value = {
    self: (row: number) => functions.selves[0][row],
    total: (row: number) => functions.totals[0][row],
    before: (row: number) => shareOf(tree, row, 1),
    change: (row: number) => Math.abs(shareOf(tree, row, 0) - shareOf(tree, row, 1)),
    name: (row: number) => functions.name[row],
    lib: (row: number) => functions.libs[functions.lib[row]],
  }[by];
  const sign = down ? -1 : 1;
  return rows.sort((a, b) => {
    const [first, second] = [value(a), value(b)];
    return sign * (first < second ? -1 : first > second ? 1 : 0) || functions.totals[0][b] - functions.totals[0][a] || a - b;
  });
}

/** Which rows of a long list can be seen. */
export function useWindow(count: number, maxHeight: number) {
  const ref = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  useEffect(() => {
    if (ref.current && ref.current.scrollTop > count * ROW) ref.current.scrollTop = 0;
  }, [count]);
  const first = Math.max(0, Math.floor(top / ROW) - 8);
  const last = Math.min(count, Math.ceil((top + maxHeight) / ROW) + 8);
  return {
    ref,
    onScroll: () => setTop(ref.current?.scrollTop ?? 0),
    range: <T,>(rows: T[]): [T, number][] => rows.slice(first, last).map((row, place) => [row, first + place]),
    reveal(place: number) {
      const box = ref.current;
      if (!box) return;
      const y = place * ROW;
      if (y < box.scrollTop) box.scrollTop = y;
      else if (y + ROW + 40 > box.scrollTop + box.clientHeight) box.scrollTop = y + ROW + 40 - box.clientHeight;
    },
  };
}
