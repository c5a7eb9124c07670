// Threads as lanes with their CPU over time. What is chosen here filters everything below.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { cleanName, formatCount, formatSecs } from "../core/format";
import type { Lane, Timeline } from "../core/types";
import { Icon } from "../parts/icons";
import { isDark } from "./colours";
import { watchTheme } from "./flame";
import { countThreads, hasThread, type Threads, toggleThread } from "./threads";

export interface Range {
  from: number;
  to: number;
}

interface Props {
  timeline: Timeline;
  /** Those that count; null: all. A profile may have more than there are lanes. */
  threads: Threads | null;
  range: Range | null;
  onThreads: (threads: Threads | null) => void;
  onRange: (range: Range | null) => void;
  isFixed?: boolean;
}

export function Lanes(props: Props) {
  const { timeline, threads, range, onThreads, onRange } = props;
  const plots = useRef<HTMLDivElement>(null);
  const [drawn, setDrawn] = useState<Range | null>(null);
  const [showIdle, setShowIdle] = useState(false);
  const whole = timeline.span_ms / 1000;
  const idle = timeline.lanes.filter((lane) => isIdle(lane, timeline));
  const lanes = showIdle || idle.length < 4 ? timeline.lanes : timeline.lanes.filter((lane) => !isIdle(lane, timeline));
  const total = timeline.threads_total;
  const unlisted = total - timeline.lanes.length;
  const brush = drawn ?? range;
  return (
    <section class="card lanes" aria-label="Threads over time">
      <div class="lanes-head">
        <h2>Threads</h2>
        <span class="faint">{formatCount(total)} in all{unlisted > 0 && `, the busiest ${timeline.lanes.length} below`} · CPU over {formatSecs(whole)}</span>
        <span class="grow" />
        {idle.length >= 4 && <button type="button" class="button quiet small" onClick={() => setShowIdle(!showIdle)}>{showIdle ? "Hide" : `Show ${idle.length}`} idle</button>}
        {props.isFixed && (range || threads) && <span class="badge info">{[range && `${range.from} s to ${range.to} s`, threads && `${formatCount(countThreads(threads, total))} of ${formatCount(total)} threads`].filter(Boolean).join(" · ")}</span>}
        {!props.isFixed && threads && <button type="button" class="button small" onClick={() => onThreads(null)}><Icon name="close" /> {formatCount(countThreads(threads, total))} of {formatCount(total)} threads</button>}
        {!props.isFixed && <RangeInputs range={range} whole={whole} onRange={onRange} />}
      </div>
      <div class="lanes-list">
        <div class="lanes-plots" ref={plots} {...(props.isFixed ? {} : useBrush(plots, whole, setDrawn, onRange))} style={{ height: `${lanes.length * 30}px` }} />
        {lanes.map((lane) => (
          <div key={lane.index} class={`lane ${hasThread(threads, lane.index) ? "" : "off"}`}>
            <label title={`${lane.process_name} ${lane.pid}, thread ${lane.tid}`}>
              {!props.isFixed && <input type="checkbox" checked={hasThread(threads, lane.index)} onChange={() => onThreads(toggleThread(threads, lane.index, total))} />}
              <span class="clip name" onDblClick={() => !props.isFixed && onThreads([[lane.index, lane.index]])}>{cleanName(lane.name || "thread", 80)}</span>
            </label>
            <div class="lane-plot"><Plot lane={lane} />{brush && <div class="brush" style={{ left: `${(100 * brush.from) / whole}%`, width: `${(100 * (brush.to - brush.from)) / whole}%` }} />}</div>
            <span class="num">{lane.cpu_ms === null ? `${lane.samples}` : formatSecs(lane.cpu_ms / 1000)}</span>
          </div>
        ))}
      </div>
      <div class="axis"><span /><div aria-hidden="true">{[0, 0.25, 0.5, 0.75, 1].map((part) => <span key={part}>{part ? formatMark(whole * part, whole) : "0"}</span>)}</div><span /></div>
    </section>
  );
}

/** A place on the axis, in the unit of its end. */
function formatMark(secs: number, whole: number): string {
  return whole < 1 ? formatSecs(secs) : `${Number(secs.toFixed(whole < 10 ? 2 : whole < 100 ? 1 : 0))} s`;
}

function isIdle(lane: Lane, timeline: Timeline): boolean {
  return lane.cpu_ms === null ? lane.samples < 3 : lane.cpu_ms < 0.001 * timeline.span_ms;
}

/** The same selection for a keyboard. */
function RangeInputs({ range, whole, onRange }: { range: Range | null; whole: number; onRange: (range: Range | null) => void }) {
  const set = (from: number, to: number) => {
    if (Number.isFinite(from) && Number.isFinite(to) && to > from && from >= 0) onRange(from <= 0 && to >= whole ? null : { from, to });
  };
  const round = (value: number) => Math.round(value * 100) / 100;
  return (
    <div class="range">
      <input class="input num" type="number" step="0.1" min={0} aria-label="From second" value={round(range?.from ?? 0)} onChange={(event) => set(event.currentTarget.valueAsNumber, range?.to ?? whole)} />
      <span class="faint">to</span>
      <input class="input num" type="number" step="0.1" min={0} aria-label="To second" value={round(range?.to ?? whole)} onChange={(event) => set(range?.from ?? 0, event.currentTarget.valueAsNumber)} />
      <span class="faint">s</span>
      {range && <button type="button" class="button quiet small icon" aria-label="Clear the time range" title="Clear the time range" onClick={() => onRange(null)}><Icon name="close" /></button>}
    </div>
  );
}

function useBrush(plots: { current: HTMLDivElement | null }, whole: number, show: (range: Range | null) => void, commit: (range: Range | null) => void) {
  const start = useRef<number | null>(null);
  const secsAt = (event: PointerEvent) => {
    const rect = plots.current!.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - rect.left) / rect.width)) * whole;
  };
  const rangeTo = (at: number): Range => ({ from: Math.min(start.current!, at), to: Math.max(start.current!, at) });
  return {
    onPointerDown(event: PointerEvent) {
      if (event.button !== 0) return;
      plots.current!.setPointerCapture(event.pointerId);
      start.current = secsAt(event);
    },
    onPointerMove(event: PointerEvent) {
      if (start.current !== null) show(rangeTo(secsAt(event)));
    },
    onPointerUp(event: PointerEvent) {
      if (start.current === null) return;
      const range = rangeTo(secsAt(event));
      start.current = null;
      show(null);
      // A click takes the selection away.
      commit(range.to - range.from < whole / 200 ? null : { from: Number(range.from.toFixed(3)), to: Number(range.to.toFixed(3)) });
    },
    onPointerCancel() {
      start.current = null;
      show(null);
    },
  };
}

function Plot({ lane }: { lane: Lane }) {
  const ref = useRef<HTMLCanvasElement>(null);
  // A layout effect ends before the canvas is gone; a plain one only after the observer has seen that.
  useLayoutEffect(() => {
    const paint = () => drawLane(ref.current!, lane.busy);
    const observer = new ResizeObserver(paint);
    observer.observe(ref.current!);
    const stop = watchTheme(paint);
    return () => {
      observer.disconnect();
      stop();
    };
  }, [lane]);
  return <canvas ref={ref} aria-hidden="true" />;
}

function drawLane(canvas: HTMLCanvasElement, busy: number[]): void {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  const dark = isDark();
  const room = height - 7;
  context.fillStyle = dark ? "#28303b" : "#eef1f4";
  context.fillRect(0, height - 3, width, 1);
  context.fillStyle = dark ? "#e07b3c" : "#e8894f";
  for (let x = 0; x < width; x += 1) {
    // Of the buckets under one pixel the highest counts: a short burst must be seen.
    const first = Math.floor((x / width) * busy.length);
    const last = Math.max(first + 1, Math.floor(((x + 1) / width) * busy.length));
    let most = 0;
    for (let at = first; at < last; at += 1) most = Math.max(most, busy[at]);
    const tall = most > 0 ? Math.max(1, most * room) : 0;
    context.fillRect(x, height - 3 - tall, 1, tall);
  }
}
