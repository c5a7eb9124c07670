// One profile, or two laid over each other, in all its views. One search and one selection drive them all.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Problem } from "../core/api";
import { cleanName, formatCount, formatPoints, formatShare, formatValue } from "../core/format";
import { asProblem, useKey, waitAfter } from "../core/hooks";
import type { FrameTree, Quality, Timeline } from "../core/types";
import { Icon } from "../parts/icons";
import { copyText, Loading, Note, ProblemNote } from "../parts/notes";
import { CallTree } from "./calltree";
import { colourChange, colourNameless, colourOfLib, isDark, rankLibs } from "./colours";
import { Evidence } from "./evidence";
import { Flame, watchTheme } from "./flame";
import { Lanes, type Range } from "./lanes";
import { type Matches, Model, search } from "./model";
import { FunctionTable } from "./table";
import { formatThreads, parseThreads, type Threads } from "./threads";

export interface TreeQuery {
  view: "top-down" | "bottom-up" | "callers" | "callees";
  by: string;
  measure: string;
  threads: Threads | null;
  range: Range | null;
  path: string[];
  function: string;
}

export interface Source {
  loadTree: (query: TreeQuery, signal: AbortSignal) => Promise<FrameTree>;
  loadTimeline?: (signal: AbortSignal) => Promise<Timeline>;
  /** What the source can do; a report holds less. */
  views: View[];
  bys: string[];
  isFixed?: boolean;
  quality?: Quality;
}

export type View = "flame" | "inverted" | "sandwich" | "tree" | "table";
const VIEWS: Record<View, string> = { flame: "Flame graph", inverted: "Inverted", sandwich: "Sandwich", tree: "Call tree", table: "Functions" };
const BYS: Record<string, string> = { none: "none", thread: "thread", operator: "operator", group: "operator group", library: "library" };

export interface ViewerState {
  view: View;
  by: string;
  measure: string;
  search: string;
  chosen: string;
  zoom: string[];
  threads: Threads | null;
  range: Range | null;
}

export function readState(params: URLSearchParams): ViewerState {
  const range = /^(\d{1,6}(?:\.\d{1,6})?)-(\d{1,6}(?:\.\d{1,6})?)$/.exec(params.get("t") ?? "");
  const view = params.get("view") as View;
  const by = params.get("by") ?? "none";
  return {
    view: Object.hasOwn(VIEWS, view) ? view : "flame",
    by: Object.hasOwn(BYS, by) ? by : "none",
    measure: params.get("measure") === "cpu" ? "cpu" : "samples",
    search: params.get("q") ?? "",
    chosen: params.get("fn") ?? "",
    zoom: (params.get("zoom") ?? "").split(".").filter(Boolean),
    threads: parseThreads(params.get("threads") ?? ""),
    range: range && Number(range[1]) < Number(range[2]) ? { from: Number(range[1]), to: Number(range[2]) } : null,
  };
}

export function writeState(changes: Partial<ViewerState>): Record<string, string | null> {
  const found: Record<string, string | null> = {};
  if (changes.view !== undefined) found.view = changes.view === "flame" ? null : changes.view;
  if (changes.by !== undefined) found.by = changes.by === "none" ? null : changes.by;
  if (changes.measure !== undefined) found.measure = changes.measure === "samples" ? null : changes.measure;
  if (changes.search !== undefined) found.q = changes.search;
  if (changes.chosen !== undefined) found.fn = changes.chosen;
  if (changes.zoom !== undefined) found.zoom = changes.zoom.join(".");
  if (changes.threads !== undefined) found.threads = changes.threads && formatThreads(changes.threads);
  if (changes.range !== undefined) found.t = changes.range ? `${changes.range.from}-${changes.range.to}` : null;
  return found;
}

/** The tree that a view shows, or the whole of which it shows a part. */
export function buildQuery(state: ViewerState): TreeQuery {
  const { by, measure, threads, range } = state;
  return { view: state.view === "inverted" ? "bottom-up" : "top-down", by, measure, threads, range, path: [], function: "" };
}

interface Props {
  source: Source;
  state: ViewerState;
  change: (changes: Partial<ViewerState>, how?: "push" | "replace") => void;
  head?: ComponentChildren;
}

export function Viewer({ source, state, change, head }: Props) {
  const base = buildQuery(state);
  const main = useTree(source, base, state.zoom);
  // What the tree was refused for may be the choice of threads: it must be possible to change it.
  const timeline = useTimeline(source, main.tree !== null || (main.problem !== null && !main.problem.isPassing));
  const input = useRef<HTMLInputElement>(null);
  useKey((event) => {
    if (event.key === "/") input.current?.focus();
    else if (event.key === "Escape" && document.activeElement === input.current) input.current?.blur();
    else if (event.key === "Escape" && state.zoom.length) change({ zoom: state.zoom.slice(0, -1) });
    else return;
    event.preventDefault();
  });
  const model = useMemo(() => (main.tree ? new Model(main.tree) : null), [main.tree]);
  const matches = useMemo(() => (model ? search(model, state.search) : null), [model, state.search]);
  return (
    <div class="viewer">
      {source.loadTimeline && timeline === null && <LanesToCome />}
      {timeline && <Lanes timeline={timeline} threads={state.threads} range={state.range} isFixed={source.isFixed} onThreads={(threads) => change({ threads, zoom: [] })} onRange={(range) => change({ range, zoom: [] }, "push")} />}
      <section class="card" aria-label="Where the time goes">
        <div class="viewer-tools">
          <div class="segments" role="group" aria-label="View">
            {source.views.map((view) => <button key={view} type="button" aria-pressed={state.view === view} onClick={() => change({ view, zoom: [] }, "push")}>{VIEWS[view]}</button>)}
          </div>
          {!source.isFixed && (
            <div class="segments" role="group" aria-label="What counts">
              <button type="button" aria-pressed={state.measure === "samples"} onClick={() => change({ measure: "samples" })}>Samples</button>
              <button type="button" aria-pressed={state.measure === "cpu"} disabled={main.tree !== null && !main.tree.has_cpu} title={main.tree && !main.tree.has_cpu ? "This profile has no CPU time" : undefined} onClick={() => change({ measure: "cpu" })}>CPU time</button>
            </div>
          )}
          {source.bys.length > 1 && (
            <label class="pick">Group by <select class="input" value={state.by} onChange={(event) => change({ by: event.currentTarget.value, zoom: [] })}>{source.bys.map((by) => <option key={by} value={by}>{BYS[by]}</option>)}</select></label>
          )}
          {head}
          <div class="search">
            <Icon name="search" />
            <input ref={input} class="input" type="search" aria-label="Search functions" placeholder="Search functions" value={state.search} onInput={(event) => change({ search: event.currentTarget.value })} />
            <kbd aria-hidden="true">/</kbd>
          </div>
        </div>
        <div class={`loading-line ${main.isLoading ? "on" : ""}`} />
        {main.problem && <div class="pad"><ProblemNote problem={main.problem} retry={main.reload} /></div>}
        {!model && !main.problem && <div class="pad"><Loading what="Reading the profile…" /><Waiting /></div>}
        {model && <Body source={source} state={state} change={change} model={model} matches={matches} base={base} />}
      </section>
    </div>
  );
}

/** As high as the lanes will be, more or less: the graph does not jump when they come. */
function LanesToCome() {
  return <section class="card lanes" aria-hidden="true"><div class="lanes-head"><h2>Threads</h2></div><div class="pad"><div class="skeleton" style={{ height: "120px" }} /></div></section>;
}

function Waiting() {
  return <div class="stack" aria-hidden="true">{[100, 92, 64, 58, 33, 21].map((width) => <div key={width} class="skeleton" style={{ width: `${width}%`, height: "20px" }} />)}</div>;
}

interface BodyProps extends Props {
  model: Model;
  matches: Matches | null;
  base: TreeQuery;
}

function Body({ source, state, change, model, matches, base }: BodyProps) {
  const zoom = model.find(state.zoom);
  const height = Math.max(340, Math.min(innerHeight - 260, 760));
  const isEmpty = model.answer.sums[0] === 0;
  const onZoom = (node: number) => change({ zoom: node < 0 ? [] : model.path(node) }, "push");
  const onChoose = (chosen: string) => change({ chosen });
  const open = (chosen: string) => change({ chosen, view: "sandwich", zoom: [] }, "push");
  const shared = { matches, chosen: state.chosen, onChoose, maxHeight: height };
  if (isEmpty)
    return <div class="pad"><Note tone="info" title="No samples here">{state.range || state.threads ? "Nothing ran in the selected time and threads." : "The process did not run on a CPU while it was sampled."}</Note></div>;
  return (
    <>
      <Trail model={model} zoom={zoom} state={state} change={change} matches={matches} />
      {source.quality && state.view !== "table" && <Evidence quality={source.quality} isPart={state.range !== null || state.threads !== null} />}
      <div class={`viewer-body ${state.chosen && findFunction(model, state.chosen) >= 0 ? "has-side" : ""}`}>
        <div class="grow">
          {(state.view === "flame" || state.view === "inverted") && (
            <><Flame {...shared} model={model} zoom={zoom} onZoom={onZoom} label={VIEWS[state.view]} /><Legend model={model} /></>
          )}
          {state.view === "tree" && <CallTree {...shared} model={model} zoom={zoom} onLoad={onZoom} />}
          {state.view === "table" && <FunctionTable tree={model.answer} search={state.search} chosen={state.chosen} onChoose={onChoose} onOpen={open} maxHeight={height} />}
          {state.view === "sandwich" && <Sandwich source={source} base={base} state={state} change={change} maxHeight={height} fallback={model} onOpen={open} />}
        </div>
        <Side model={model} state={state} change={change} views={source.views} />
      </div>
    </>
  );
}

function Trail({ model, zoom, state, change, matches }: { model: Model; zoom: number; state: ViewerState; change: Props["change"]; matches: Matches | null }) {
  const line = zoom < 0 ? [] : model.line(zoom);
  const shown = line.length > 4 ? line.slice(-3) : line;
  const { nodes, measure, functions } = model.answer;
  const left = nodes.total - model.size;
  return (
    <div class="trail">
      <button type="button" onClick={() => change({ zoom: [] }, "push")} disabled={zoom < 0}>All</button>
      {line.length > shown.length && <span>… {line.length - shown.length} more</span>}
      {shown.map((node) => <span key={node} class="row">› <button type="button" class="clip name" onClick={() => change({ zoom: model.path(node) }, "push")}>{model.name(node)}</button></span>)}
      <span class="num">{formatValue(zoom < 0 ? model.whole : model.total(zoom), measure)}{zoom >= 0 && `, ${formatShare(model.total(zoom), model.whole)} of all`}</span>
      <span class="end num" role="status">
        {matches ? `${formatCount(matches.count)} of ${formatCount(functions.name.length)} functions match, ${formatShare(matches.share, 1)} of all` : left > 0 && zoom < 0 && state.view !== "table" ? `${formatCount(model.size)} of ${formatCount(nodes.total)} frames; zoom in and the rest of a frame is loaded` : ""}
      </span>
    </div>
  );
}

function Sandwich({ source, base, state, change, maxHeight, fallback, onOpen }: { source: Source; base: TreeQuery; state: ViewerState; change: Props["change"]; maxHeight: number; fallback: Model; onOpen: (key: string) => void }) {
  const wanted = state.chosen;
  const callers = useTree(source, wanted ? { ...base, by: "none", view: "callers", function: wanted } : null, []);
  const callees = useTree(source, wanted ? { ...base, by: "none", view: "callees", function: wanted } : null, []);
  const models = useMemo(() => [callers.tree && new Model(callers.tree), callees.tree && new Model(callees.tree)], [callers.tree, callees.tree]);
  const [zooms, setZooms] = useState([-1, -1]);
  useEffect(() => setZooms([-1, -1]), [callers.tree, callees.tree]);
  const problem = callers.problem ?? callees.problem;
  if (!wanted) return <FunctionTable tree={fallback.answer} search={state.search} chosen="" onChoose={onOpen} onOpen={onOpen} maxHeight={maxHeight} />;
  const part = (place: number, label: string) => {
    const model = models[place];
    if (!model) return problem ? null : <div class="pad"><Loading what="Reading the profile…" /></div>;
    if (!model.size) return <p class="pad faint">Not called in the selected time and threads.</p>;
    return (
      <Flame model={model} zoom={zooms[place]} isUpwards={place === 0} label={label} maxHeight={maxHeight / 2} matches={search(model, state.search)} chosen={wanted}
        onZoom={(node) => setZooms(place === 0 ? [node, zooms[1]] : [zooms[0], node])} onChoose={(key) => key !== wanted && change({ chosen: key }, "push")} />
    );
  };
  return (
    <div class="sandwich">
      {problem && <div class="pad"><ProblemNote problem={problem} retry={() => { callers.reload(); callees.reload(); }} /></div>}
      <h3>Who calls it</h3>
      {part(0, "Callers")}
      <h3>What it calls</h3>
      {part(1, "Callees")}
    </div>
  );
}

function findFunction(model: Model, key: string): number {
  return key ? model.answer.functions.key.indexOf(key) : -1;
}

function Side({ model, state, change, views }: { model: Model; state: ViewerState; change: Props["change"]; views: View[] }) {
  const row = findFunction(model, state.chosen);
  if (row < 0) return null;
  const { functions, sums, measure } = model.answer;
  const name = cleanName(functions.name[row], 2000);
  const file = cleanName(functions.files[functions.file[row]] || "", 300);
  const [self, total] = [functions.selves[0][row], functions.totals[0][row]];
  return (
    <aside class="side" aria-label="The chosen function">
      <div class="row">
        <h3 class="name grow">{name}</h3>
        <button type="button" class="button quiet small icon" aria-label="Close" onClick={() => change({ chosen: "" })}><Icon name="close" /></button>
      </div>
      <div class="row wrap">
        <div class="grow"><div class="big num">{formatShare(total, sums[0])}</div><span class="faint">in it and below</span></div>
        <div class="grow"><div class="big num">{formatShare(self, sums[0])}</div><span class="faint">in itself</span></div>
      </div>
      <dl class="pairs">
        <dt>Total</dt><dd class="num">{formatValue(total, measure)}</dd>
        <dt>Self</dt><dd class="num">{formatValue(self, measure)}</dd>
        {sums.length > 1 && <><dt>Before</dt><dd class="num">{formatShare(functions.totals[1][row], sums[1])}, itself {formatShare(functions.selves[1][row], sums[1])}</dd><dt>Change</dt><dd class="num">{formatPoints(100 * (self / (sums[0] || 1) - functions.selves[1][row] / (sums[1] || 1)))}</dd></>}
        <dt>Library</dt><dd class="name">{cleanName(functions.libs[functions.lib[row]])}</dd>
        {file !== "(no name)" && <><dt>File</dt><dd class="name">{file}</dd></>}
      </dl>
      <div class="actions">
        {views.includes("sandwich") && state.view !== "sandwich" && <button type="button" class="button small" onClick={() => change({ view: "sandwich", zoom: [] }, "push")}>Callers and callees</button>}
        {state.view === "sandwich" && <button type="button" class="button small" onClick={() => change({ view: "flame" }, "push")}>In the flame graph</button>}
        <button type="button" class="button small" onClick={() => change({ search: functions.name[row].slice(0, 200) })}>Search for it</button>
        <button type="button" class="button small" onClick={() => copyText(functions.name[row], "The name")}><Icon name="copy" /> Copy</button>
      </div>
    </aside>
  );
}

function Legend({ model }: { model: Model }) {
  const [dark, setDark] = useState(isDark);
  useEffect(() => watchTheme(() => setDark(isDark())), []);
  if (model.isDiff)
    return (
      <div class="legend">
        <span>Change of its own share:</span>
        <span class="row">−5 pp <span class="scale">{[-5, -3, -1, -0.3, 0, 0.3, 1, 3, 5].map((step) => <i key={step} style={{ background: colourChange(step / 100, dark) }} />)}</span> +5 pp</span>
        <span class="faint">Widths show the later profile.</span>
      </div>
    );
  return (
    <div class="legend">
      {rankLibs(model).slice(0, 6).map((lib, place) => <span key={lib} class="row"><i style={{ background: colourOfLib(place, dark, 7) }} /> <span class="name">{cleanName(lib, 40)}</span></span>)}
      <span class="row"><i style={{ background: colourNameless(dark) }} /> without a name</span>
    </div>
  );
}

interface LoadedTree {
  tree: FrameTree | null;
  problem: Problem | null;
  isLoading: boolean;
  reload: () => void;
}

/** The tree of a query; where the frame that is zoomed into was cut, the tree below it is asked for, too. */
function useTree(source: Source, query: TreeQuery | null, zoom: string[]): LoadedTree {
  const key = query ? JSON.stringify(query) : "";
  const [state, setState] = useState<{ key: string; tree: FrameTree | null; problem: Problem | null; isLoading: boolean }>({ key: "", tree: null, problem: null, isLoading: true });
  const [round, setRound] = useState(0);
  const wanted = useRef("");
  const whole = useRef<{ key: string; model: Model } | null>(null);
  // A layout effect asks before the browser paints, not after it.
  useLayoutEffect(() => {
    if (!query) return;
    const controller = new AbortController();
    const ask = async () => {
      if (whole.current?.key !== key) {
        setState((before) => ({ ...before, isLoading: true }));
        whole.current = { key, model: new Model(await source.loadTree(query, controller.signal)) };
      }
      const { model } = whole.current;
      const node = model.find(zoom);
      const isHere = !zoom.length || source.isFixed || (node >= 0 && model.path(node).length === zoom.length && !model.hasCut(node));
      wanted.current = isHere ? key : `${key} ${zoom.join(".")}`;
      if (isHere) return model.answer;
      setState((before) => ({ ...before, tree: before.key === key ? before.tree : model.answer, key, isLoading: true }));
      return source.loadTree({ ...query, path: zoom }, controller.signal);
    };
    ask().then(
      (tree) => !controller.signal.aborted && setState({ key, tree, problem: null, isLoading: false }),
      (error) => !controller.signal.aborted && setState((before) => ({ ...before, tree: before.key === key ? before.tree : null, problem: asProblem(error), isLoading: false })),
    );
    return () => controller.abort();
  }, [key, zoom.join("."), round]);
  const reload = () => setRound((before) => before + 1);
  useEffect(() => {
    const wait = waitAfter(state.problem);
    if (wait === null) return;
    const timer = setTimeout(reload, wait * 1000);
    return () => clearTimeout(timer);
  }, [state.problem]);
  return { tree: state.tree, problem: state.problem, isLoading: state.isLoading, reload };
}

/** Null: on its way. Undefined: it cannot be had, and the page says all the rest. */
function useTimeline(source: Source, isReady: boolean): Timeline | null | undefined {
  const [round, setRound] = useState(0);
  const [timeline, setTimeline] = useState<Timeline | null | undefined>(null);
  useEffect(() => {
    if (!source.loadTimeline || !isReady) return;
    const controller = new AbortController();
    let timer = 0;
    // The graph comes first.
    source.loadTimeline(controller.signal).then(setTimeline, (error) => {
      const wait = waitAfter(asProblem(error));
      if (controller.signal.aborted) return;
      if (wait === null) setTimeline(undefined);
      else timer = window.setTimeout(() => setRound((before) => before + 1), wait * 1000);
    });
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [source, isReady, round]);
  return timeline;
}
