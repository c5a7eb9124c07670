// The flame graph: own drawing on a canvas, since a tree of SVG elements does not scroll fluently at 50,000 frames.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatPoints, formatShare, formatValue } from "../core/format";
import { isDark, isNameless, paint } from "./colours";
import type { Matches, Model } from "./model";

const ROW = 21;
const FONT = '12px "Inter", system-ui, sans-serif';
const LEAST_PX = 0.35;

interface Props {
  model: Model;
  /** The node that fills the width; -1: the whole. */
  zoom: number;
  onZoom: (node: number) => void;
  chosen: string;
  onChoose: (key: string) => void;
  matches: Matches | null;
  isUpwards?: boolean;
  label: string;
  maxHeight: number;
}

interface Window {
  from: number;
  to: number;
}

export function Flame(props: Props) {
  const { model, zoom } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = useRef<Window>(windowOf(model, zoom));
  const [width, setWidth] = useState(0);
  const [dark, setDark] = useState(isDark);
  const [tip, setTip] = useState<{ node: number; x: number; y: number } | null>(null);
  const [cursor, setCursor] = useState(-1);
  const colours = useMemo(() => paint(model, dark), [model, dark]);
  const height = model.levels.length * ROW + 2;
  const viewHeight = Math.min(height, props.maxHeight);
  const latest = useRef<() => void>(() => {});
  latest.current = () => {
    if (canvas.current && box.current) draw(canvas.current, box.current.scrollTop, { ...props, colours, dark, cursor, width, height, viewHeight }, shown.current);
  };
  const redraw = useRef(frameOnce(() => latest.current())).current;

  useEffect(() => watchSize(box.current!, setWidth), []);
  useEffect(() => watchTheme(() => setDark(isDark())), []);
  useEffect(() => {
    document.fonts?.load(FONT).then(redraw, redraw);
  }, []);
  useEffect(() => {
    redraw();
  });
  useEffect(() => {
    setCursor(-1);
    setTip(null);
    if (zoom < 0 && box.current && !props.isUpwards) box.current.scrollTop = 0;
    return animate(shown.current, windowOf(model, zoom), redraw);
  }, [model, zoom]);
  useEffect(() => {
    if (props.isUpwards && box.current) box.current.scrollTop = height;
  }, [height, viewHeight]);

  const hit = (event: MouseEvent): number => {
    const rect = canvas.current!.getBoundingClientRect();
    const y = event.clientY - rect.top + box.current!.scrollTop;
    const row = Math.floor((props.isUpwards ? height - y : y) / ROW);
    const x = shown.current.from + ((event.clientX - rect.left) / width) * (shown.current.to - shown.current.from);
    return findAt(model, row, x);
  };
  const drag = useDrag(shown, () => width, redraw);
  const walk = (event: KeyboardEvent) => {
    const next = step(model, cursor < 0 ? Math.max(zoom, model.roots[0] ?? -1) : cursor, event.key, props.isUpwards ?? false);
    if (next !== null) {
      setCursor(next);
      reveal(box.current!, model.depth[next], height, props.isUpwards ?? false);
    } else if (event.key === "Enter" && cursor >= 0) {
      props.onZoom(cursor);
      if (!model.isGroup(cursor)) props.onChoose(model.key(cursor));
    } else if (event.key === "Escape" || event.key === "Backspace") props.onZoom(zoom < 0 ? -1 : model.parent[zoom]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={box}
      class="flame"
      style={{ height: `${viewHeight}px` }}
      tabIndex={0}
      role="application"
      aria-roledescription="flame graph"
      aria-label={`${props.label}. Arrow keys walk through the frames, Enter zooms in, Escape zooms out. The call tree and the table say the same as text.`}
      onScroll={redraw}
      onKeyDown={walk}
      onWheel={(event) => {
        if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
        event.preventDefault();
        turn(shown.current, event, canvas.current!.getBoundingClientRect());
        redraw();
      }}
      onPointerDown={drag.down}
      onPointerMove={(event) => {
        if (drag.move(event)) return setTip(null);
        const node = hit(event);
        setTip(node < 0 ? null : { node, x: event.clientX, y: event.clientY });
      }}
      onPointerUp={drag.up}
      onPointerLeave={() => setTip(null)}
      onClick={(event) => {
        if (drag.wasDragged()) return;
        const node = hit(event);
        props.onZoom(node);
        if (node >= 0 && !model.isGroup(node)) props.onChoose(model.key(node));
      }}
    >
      <canvas ref={canvas} aria-hidden="true" data-testid="flame" />
      <div class="spacer" style={{ height: `${height}px` }} />
      <div class="hidden" aria-live="polite">{cursor >= 0 && describe(model, cursor)}</div>
      {tip && <Tip model={model} {...tip} />}
    </div>
  );
}

/** A frame in words. */
export function describe(model: Model, node: number): string {
  const { measure } = model.answer;
  const share = formatShare(model.total(node), model.whole);
  const own = formatShare(model.self(node), model.whole);
  return `${model.name(node)}, ${share}, ${formatValue(model.total(node), measure)}, of these in itself ${own}`;
}

function Tip({ model, node, x, y }: { model: Model; node: number; x: number; y: number }) {
  const ref = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = ref.current!;
    const { offsetWidth, offsetHeight } = element;
    element.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - offsetWidth - 8))}px`;
    element.style.top = `${y + 20 + offsetHeight > innerHeight ? y - offsetHeight - 12 : y + 18}px`;
  });
  const { measure, sums } = model.answer;
  const name = model.name(node);
  return (
    <div class="tip" ref={ref} role="presentation">
      <b class="name">{name}</b>
      {model.lib(node) && <span class="name">{model.lib(node)}</span>}
      <span>{formatShare(model.total(node), model.whole)} · {formatValue(model.total(node), measure)}</span>
      {!model.isGroup(node) && <span>itself {formatShare(model.self(node), model.whole)} · {formatValue(model.self(node), measure)}</span>}
      {model.isDiff && <span>before {formatShare(model.total(node, 1), sums[1])}, itself {formatPoints(100 * model.change(node))}</span>}
      {isNameless(name) && <span>No symbol was found for this address.</span>}
      {model.isCut(node) && <span>More frames below: click to load them.</span>}
    </div>
  );
}

function windowOf(model: Model, node: number): Window {
  return node < 0 ? { from: 0, to: 1 } : { from: model.left[node], to: Math.max(model.right[node], model.left[node] + 1e-9) };
}

function frameOnce(work: () => void): () => void {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      work();
    });
  };
}

function watchSize(element: HTMLElement, tell: (width: number) => void): () => void {
  const observer = new ResizeObserver(() => tell(element.clientWidth));
  observer.observe(element);
  tell(element.clientWidth);
  return () => observer.disconnect();
}

export function watchTheme(tell: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", tell);
  addEventListener("theme", tell);
  return () => {
    query.removeEventListener("change", tell);
    removeEventListener("theme", tell);
  };
}

function animate(shown: Window, target: Window, redraw: () => void): () => void {
  if (shown.from === target.from && shown.to === target.to) return () => {};
  const start = { ...shown };
  const began = performance.now();
  const takes = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 180;
  let handle = 0;
  const tick = () => {
    const part = takes ? Math.min(1, (performance.now() - began) / takes) : 1;
    const eased = 1 - (1 - part) ** 3;
    shown.from = start.from + (target.from - start.from) * eased;
    shown.to = start.to + (target.to - start.to) * eased;
    redraw();
    if (part < 1) handle = requestAnimationFrame(tick);
  };
  handle = requestAnimationFrame(tick);
  return () => cancelAnimationFrame(handle);
}

/** Ctrl and the wheel zoom around the pointer; sideways it pans. */
function turn(shown: Window, event: WheelEvent, rect: DOMRect): void {
  const span = shown.to - shown.from;
  if (event.ctrlKey || event.metaKey) {
    const at = shown.from + ((event.clientX - rect.left) / rect.width) * span;
    const factor = Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.01);
    const next = Math.min(1, Math.max(1e-7, span * factor));
    shown.from = Math.max(0, Math.min(1 - next, at - ((at - shown.from) / span) * next));
    shown.to = shown.from + next;
  } else pan(shown, (event.deltaX / rect.width) * span);
}

function pan(shown: Window, by: number): void {
  const span = shown.to - shown.from;
  shown.from = Math.max(0, Math.min(1 - span, shown.from + by));
  shown.to = shown.from + span;
}

function useDrag(shown: { current: Window }, width: () => number, redraw: () => void) {
  const state = useRef({ x: 0, isDown: false, moved: 0 }).current;
  return {
    down(event: PointerEvent) {
      if (event.button !== 0 || event.pointerType === "touch") return;
      Object.assign(state, { x: event.clientX, isDown: true, moved: 0 });
    },
    move(event: PointerEvent): boolean {
      if (!state.isDown || event.buttons === 0) {
        state.isDown = false;
        return false;
      }
      const by = state.x - event.clientX;
      state.moved += Math.abs(by);
      if (state.moved < 4) return false;
      state.x = event.clientX;
      pan(shown.current, (by / width()) * (shown.current.to - shown.current.from));
      redraw();
      return true;
    },
    up() {
      state.isDown = false;
    },
    wasDragged(): boolean {
      const was = state.moved >= 4;
      state.moved = 0;
      return was;
    },
  };
}

function findAt(model: Model, row: number, x: number): number {
  const level = model.levels[row];
  if (!level) return -1;
  const at = firstEndingAfter(model, level, x);
  return at < level.length && model.left[level[at]] <= x ? level[at] : -1;
}

function firstEndingAfter(model: Model, level: number[], x: number): number {
  let low = 0;
  let high = level.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.right[level[middle]] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

function step(model: Model, node: number, key: string, isUpwards: boolean): number | null {
  if (node < 0) return null;
  const inward = isUpwards ? "ArrowUp" : "ArrowDown";
  const outward = isUpwards ? "ArrowDown" : "ArrowUp";
  if (key === inward) return model.children[node][0] ?? node;
  if (key === outward) return model.parent[node] < 0 ? node : model.parent[node];
  const siblings = model.parent[node] < 0 ? model.roots : model.children[model.parent[node]];
  const at = siblings.indexOf(node);
  if (key === "ArrowRight") return siblings[Math.min(at + 1, siblings.length - 1)];
  if (key === "ArrowLeft") return siblings[Math.max(at - 1, 0)];
  if (key === "Home") return model.roots[0];
  return null;
}

function reveal(box: HTMLElement, depth: number, height: number, isUpwards: boolean): void {
  const y = isUpwards ? height - (depth + 1) * ROW : depth * ROW;
  if (y < box.scrollTop) box.scrollTop = y;
  else if (y + ROW > box.scrollTop + box.clientHeight) box.scrollTop = y + ROW - box.clientHeight;
}

interface Scene extends Props {
  colours: string[];
  dark: boolean;
  cursor: number;
  width: number;
  height: number;
  viewHeight: number;
}

const labels = new Map<string, number>();

function draw(canvas: HTMLCanvasElement, scrollTop: number, scene: Scene, shown: Window): void {
  const { width, viewHeight } = scene;
  if (!width) return;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(viewHeight * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(viewHeight * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${viewHeight}px`;
  }
  const context = canvas.getContext("2d", { alpha: false })!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = scene.dark ? "#151a21" : "#ffffff";
  context.fillRect(0, 0, width, viewHeight);
  context.font = FONT;
  context.textBaseline = "middle";
  const { levels } = scene.model;
  const [low, high] = scene.isUpwards ? [scene.height - scrollTop - viewHeight, scene.height - scrollTop] : [scrollTop, scrollTop + viewHeight];
  for (let row = Math.max(0, Math.floor(low / ROW)); row < Math.min(levels.length, Math.ceil(high / ROW)); row += 1) {
    const y = scene.isUpwards ? scene.height - (row + 1) * ROW - scrollTop : row * ROW - scrollTop;
    drawRow(context, scene, shown, levels[row], y);
  }
}

function drawRow(context: CanvasRenderingContext2D, scene: Scene, shown: Window, level: number[], y: number): void {
  const { model, matches, colours, width, dark } = scene;
  const scale = width / (shown.to - shown.from);
  const functions = model.answer.nodes.function;
  let drawn = -1;
  for (let at = firstEndingAfter(model, level, shown.from); at < level.length; at += 1) {
    const node = level[at];
    if (model.left[node] >= shown.to) break;
    const left = Math.max(0, (model.left[node] - shown.from) * scale);
    const right = Math.min(width, (model.right[node] - shown.from) * scale);
    // What is narrower than can be seen stands with its neighbours in one stroke.
    if (right - drawn < LEAST_PX) continue;
    drawn = right;
    const isHit = matches !== null && functions[node] >= 0 && matches.functions[functions[node]] === 1;
    context.globalAlpha = matches !== null && !isHit ? 0.32 : 1;
    context.fillStyle = isHit ? (dark ? "#b8379f" : "#d94fc0") : colours[node];
    const wide = right - left;
    context.fillRect(left, y, wide > 3 ? wide - 1 : Math.max(wide, 0.6), ROW - 1);
    if (wide > 22) {
      context.fillStyle = dark ? "#f3f5f8" : isHit ? "#ffffff" : "#1b222c";
      if (isHit && !dark) context.fillStyle = "#2b0624";
      context.fillText(fit(context, model.name(node), wide - 9), left + 5, y + ROW / 2);
    }
    context.globalAlpha = 1;
    if (model.isCut(node) && wide > 6) drawMore(context, left, right, y, dark);
    if (node === scene.cursor || (scene.chosen !== "" && wide > 2 && model.key(node) === scene.chosen)) {
      context.strokeStyle = node === scene.cursor ? (dark ? "#7fb2ff" : "#1d5fd1") : dark ? "#ffffff" : "#161d27";
      context.lineWidth = 2;
      context.strokeRect(left + 1, y + 1, Math.max(wide - 3, 1), ROW - 3);
    }
  }
}

/** A dashed edge: there is more than was sent. */
function drawMore(context: CanvasRenderingContext2D, left: number, right: number, y: number, dark: boolean): void {
  context.fillStyle = dark ? "#ffb27f" : "#93330a";
  for (let x = left + 2; x + 4 < right; x += 7) context.fillRect(x, y + ROW - 3, 4, 2);
}

function fit(context: CanvasRenderingContext2D, name: string, room: number): string {
  let text = name;
  for (let tries = 0; tries < 4; tries += 1) {
    const needed = measure(context, text);
    if (needed <= room) return text;
    const letters = Math.floor((text.length * room) / needed) - (tries ? 1 : 0) - 1;
    if (letters < 2) return "";
    text = `${name.slice(0, letters)}…`;
  }
  return "";
}

function measure(context: CanvasRenderingContext2D, text: string): number {
  let found = labels.get(text);
  if (found === undefined) {
    if (labels.size > 60_000) labels.clear();
    found = context.measureText(text).width;
    labels.set(text, found);
  }
  return found;
}
