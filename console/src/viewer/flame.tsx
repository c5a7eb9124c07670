// The flame graph: own drawing on a canvas, since a tree of SVG elements does not scroll fluently at 50,000 frames.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatPoints, formatShare, formatValue } from "../core/format";
import { colourBehind, highlight, isDark, isNameless, pack, paint } from "./colours";
import type { Matches, Model } from "./model";
import { firstEndingAfter, paintLevel, type Place, Strip, type Window } from "./strip";

const ROW = 21;
const FONT = '12px "Inter", system-ui, sans-serif';

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

export function Flame(props: Props) {
  const { model, zoom } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = useRef<Window>(windowOf(model, zoom));
  const [width, setWidth] = useState(0);
  const [dark, setDark] = useState(isDark);
  const [tip, setTip] = useState<{ node: number; x: number; y: number } | null>(null);
  const [cursor, setCursor] = useState(-1);
  const plain = useMemo(() => paint(model, dark), [model, dark]);
  const colours = useMemo(() => highlight(model, plain, props.matches, dark), [plain, props.matches]);
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
  useEffect(redraw, [model, colours, props.chosen, cursor, width, viewHeight]);
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
  colours: Uint32Array;
  dark: boolean;
  cursor: number;
  width: number;
  height: number;
  viewHeight: number;
}

const labels = new Map<string, number>();
const WITH_NAME = 22;
const WITH_EDGE = 6;
const WITH_FRAME = 2;

function draw(canvas: HTMLCanvasElement, scrollTop: number, scene: Scene, shown: Window): void {
  const { width, viewHeight, dark } = scene;
  if (!width) return;
  const ratio = devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(viewHeight * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${viewHeight}px`;
  }
  const context = canvas.getContext("2d", { alpha: false })!;
  const image = context.createImageData(across, down);
  const pixels = new Uint32Array(image.data.buffer).fill(pack(colourBehind(dark)));
  const { levels } = scene.model;
  const [low, high] = scene.isUpwards ? [scene.height - scrollTop - viewHeight, scene.height - scrollTop] : [scrollTop, scrollTop + viewHeight];
  const rows: { y: number; places: Place[] }[] = [];
  for (let row = Math.max(0, Math.floor(low / ROW)); row < Math.min(levels.length, Math.ceil(high / ROW)); row += 1) {
    const y = scene.isUpwards ? scene.height - (row + 1) * ROW - scrollTop : row * ROW - scrollTop;
    rows.push({ y, places: drawRow(pixels, across, scene, shown, levels[row], y, ratio) });
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.putImageData(image, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = FONT;
  context.textBaseline = "middle";
  for (const { y, places } of rows) for (const place of places) drawName(context, scene, place, y, ratio);
}

/** The frames of one level into the picture. The answer: those that something else is drawn on. */
function drawRow(pixels: Uint32Array, across: number, scene: Scene, shown: Window, level: Int32Array, y: number, ratio: number): Place[] {
  const strip = new Strip(across);
  strip.pixels.fill(pack(colourBehind(scene.dark)));
  const places = paintLevel(strip, scene.model, level, shown, scene.colours, ratio, WITH_FRAME, scene.cursor);
  const copy = (from: number, to: number) => {
    const end = Math.min(Math.round(to * ratio), pixels.length / across);
    for (let line = Math.max(0, Math.round(from * ratio)); line < end; line += 1) pixels.set(strip.pixels, line * across);
  };
  copy(y, y + ROW - 1);
  const cut = places.filter((place) => scene.model.isCut(place.node) && place.right - place.left > WITH_EDGE * ratio);
  for (const place of cut) dash(strip, place, ratio, pack(scene.dark ? "#ffb27f" : "#93330a"));
  if (cut.length) copy(y + ROW - 3, y + ROW - 1);
  return places;
}

/** A dashed edge: there is more than was sent. */
function dash(strip: Strip, { left, right }: Place, ratio: number, colour: number): void {
  for (let x = left + 2 * ratio; x + 4 * ratio < right; x += 7 * ratio) strip.fill(x, x + 4 * ratio, colour);
}

function drawName(context: CanvasRenderingContext2D, scene: Scene, place: Place, y: number, ratio: number): void {
  const { model, matches, dark, chosen, cursor } = scene;
  const { node } = place;
  const left = place.left / ratio;
  const wide = place.right / ratio - left;
  if (wide > WITH_NAME) {
    const isHit = matches !== null && matches.functions[model.functionOf(node)] === 1;
    context.globalAlpha = matches !== null && !isHit ? 0.32 : 1;
    context.fillStyle = dark ? "#f3f5f8" : isHit ? "#2b0624" : "#1b222c";
    context.fillText(fit(context, model.name(node), wide - 9), left + 5, y + ROW / 2);
    context.globalAlpha = 1;
  }
  if (node !== cursor && (chosen === "" || model.key(node) !== chosen)) return;
  context.strokeStyle = node === cursor ? (dark ? "#7fb2ff" : "#1d5fd1") : dark ? "#ffffff" : "#161d27";
  context.lineWidth = 2;
  context.strokeRect(left + 1, y + 1, Math.max(wide - 3, 1), ROW - 3);
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
