import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../core/api";
import { formatAge, formatExact } from "../core/format";
import { useKey, useNow, usePolled, useTitle } from "../core/hooks";
import { go, href, setParams, usePlace } from "../core/router";
import type { Ordinal, Pipeline, Status } from "../core/types";
import { Icon } from "../parts/icons";
import { Empty, Note, ProblemNote, Skeleton } from "../parts/notes";
import { Coverage, Verdict } from "../parts/quality";
import { RecordDialog } from "../parts/record";

interface Answer {
  pipelines: Pipeline[];
  complete: boolean;
}

const FILTERS = { all: "All", running: "Running", recording: "Recording", none: "Never profiled" } as const;
type Filter = keyof typeof FILTERS;

const FIRST_ROWS = 20;
const MORE_ROWS = 60;

export function PipelinesPage() {
  useTitle("Pipelines");
  const { params } = usePlace();
  const kept = useRef<Pipeline[]>([]);
  const loaded = usePolled<Answer>("pipelines", 5, async (signal) => {
    const answer = await get<Answer>("/v0/pipelines", signal);
    kept.current = keepEqual(kept.current, answer.pipelines);
    return { ...answer, pipelines: kept.current };
  });
  const now = useNow(30_000);
  const [recording, setRecording] = useState<Pipeline | null>(null);
  const search = params.get("q") ?? "";
  const wanted = params.get("show") ?? "";
  const filter = Object.hasOwn(FILTERS, wanted) ? (wanted as Filter) : "all";
  const pipelines = loaded.data?.pipelines ?? [];
  const shown = useMemo(() => pipelines.filter((each) => matches(each, search) && fits(each, filter)), [pipelines, search, filter]);
  const count = useRowCount(shown.length);
  const keys = useRowKeys(shown, setRecording);
  return (
    <>
      <div class="head">
        <div>
          <h1>Pipelines</h1>
          <p class="soft" role="status">{loaded.data ? describe(pipelines, shown) : "Loading…"}</p>
        </div>
      </div>
      <div class="tools">
        <div class="search">
          <Icon name="search" />
          <input ref={keys.input} class="input" type="search" aria-label="Search pipelines" placeholder="Name, namespace, pod or node" value={search} onInput={(event) => setParams({ q: event.currentTarget.value })} />
          <kbd aria-hidden="true">/</kbd>
        </div>
        <div class="segments" role="group" aria-label="Which pipelines">
          {(Object.keys(FILTERS) as Filter[]).map((each) => (
            <button key={each} type="button" aria-pressed={filter === each} onClick={() => setParams({ show: each === "all" ? null : each })}>{FILTERS[each]}</button>
          ))}
        </div>
      </div>
      <div class="notes">
        {loaded.problem && <ProblemNote problem={loaded.problem} retry={loaded.reload} />}
        {loaded.data && !loaded.data.complete && (
          <Note tone="warn" title="The operator is not available">Stored profiles are available. The current state of pipelines is unknown, and recordings cannot be started until the operator is available.</Note>
        )}
      </div>
      {!loaded.data && !loaded.problem && <Skeleton rows={6} height={44} />}
      {loaded.data && shown.length === 0 && <Nothing isAny={pipelines.length > 0} />}
      {shown.length > 0 && (
        <div class="card">
          <div class="columns" aria-hidden="true"><span>Pipeline</span><span>Ordinals</span><span>Last profile</span><span /></div>
          <ul class="pipelines" ref={keys.list}>
            {shown.slice(0, count).map((each) => <Row key={nameFully(each)} pipeline={each} now={now} onRecord={setRecording} />)}
          </ul>
        </div>
      )}
      <p class="hint wide"><br /><kbd>/</kbd> search · <kbd>↑</kbd> <kbd>↓</kbd> move · <kbd>Enter</kbd> open · <kbd>R</kbd> record</p>
      {recording && <RecordDialog pipeline={recording} onClose={() => setRecording(null)} />}
    </>
  );
}

function nameFully(pipeline: Pipeline): string {
  return `${pipeline.namespace}/${pipeline.name}`;
}

/** What did not change stays the same object: its row is not rendered again. */
function keepEqual(before: Pipeline[], after: Pipeline[]): Pipeline[] {
  const known = new Map(before.map((each) => [nameFully(each), each]));
  return after.map((each) => {
    const old = known.get(nameFully(each));
    return old && JSON.stringify(old) === JSON.stringify(each) ? old : each;
  });
}

/** How many rows are rendered: those of the first screen are painted before the others are made. */
function useRowCount(total: number): number {
  const [count, setCount] = useState(FIRST_ROWS);
  useEffect(() => {
    if (count < total) setCount(count + MORE_ROWS);
  }, [count, total]);
  return count;
}

/** Arrow keys walk the list, `/` goes to the search, R records. */
function useRowKeys(shown: Pipeline[], record: (pipeline: Pipeline) => void) {
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  useKey((event) => {
    const links = [...(list.current?.querySelectorAll<HTMLAnchorElement>("li > a") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    if (event.key === "/") input.current?.focus();
    else if (event.key === "Escape" && document.activeElement === input.current) links[0]?.focus();
    else if (event.key === "ArrowDown" || event.key === "j") links[Math.min(at + 1, links.length - 1)]?.focus();
    else if ((event.key === "ArrowUp" || event.key === "k") && at >= 0) links[Math.max(at - 1, 0)]?.focus();
    else if (event.key === "r" && at >= 0 && canRecord(shown[at])) record(shown[at]);
    else return;
    event.preventDefault();
  });
  return { input, list };
}

interface RowProps {
  pipeline: Pipeline;
  now: number;
  onRecord: (pipeline: Pipeline) => void;
}

function Row({ pipeline, now, onRecord }: RowProps) {
  return useMemo(() => renderRow({ pipeline, now, onRecord }), [pipeline, now]);
}

function renderRow({ pipeline, now, onRecord }: RowProps) {
  const address = href(["pipelines", pipeline.namespace, pipeline.name]);
  return (
    <li>
      <a href={address}>
        <strong class="clip name" title={pipeline.name}>{pipeline.name}</strong>
        <small class="row"><StatusDot status={pipeline.status} /> <span class="clip">{pipeline.status} · {pipeline.namespace}</span></small>
      </a>
      <div class="ordinals">
        {pipeline.ordinals.slice(0, 12).map((each) => <OrdinalChip key={each.ordinal} pipeline={pipeline} ordinal={each} />)}
        {pipeline.ordinals.length > 12 && <a class="ordinal" href={address}>+{pipeline.ordinals.length - 12}</a>}
      </div>
      <Last pipeline={pipeline} now={now} />
      <div class="act">
        <button type="button" class="button small" disabled={!canRecord(pipeline)} onClick={() => onRecord(pipeline)} aria-label={`Record ${pipeline.name}`}>
          <Icon name="record" /> Record
        </button>
      </div>
    </li>
  );
}

function OrdinalChip({ pipeline, ordinal }: { pipeline: Pipeline; ordinal: Ordinal }) {
  const words = [`ordinal ${ordinal.ordinal}: ${ordinal.status}`, ordinal.pod && `pod ${ordinal.pod}`, ordinal.node && `on ${ordinal.node}`];
  const text = words.filter(Boolean).join(", ");
  if (ordinal.in_progress)
    return (
      <a class="ordinal live" href={href(["profiles", pipeline.name, ordinal.in_progress])} title={`${text}; recording now`}>
        <span class="dot live" />{ordinal.ordinal}<span class="hidden">recording now</span>
      </a>
    );
  const target = ordinal.last_profile
    ? href(["profiles", pipeline.name, ordinal.last_profile.id])
    : href(["pipelines", pipeline.namespace, pipeline.name], { ordinal: String(ordinal.ordinal) });
  return (
    <a class="ordinal" href={target} title={`${text}; ${ordinal.last_profile ? "open its last profile" : "no profile yet"}`}>
      <StatusDot status={ordinal.status} />{ordinal.ordinal}<span class="hidden">{text}</span>
    </a>
  );
}

export function StatusDot({ status }: { status: Status }) {
  return <span class={`dot ${status === "Running" ? "good" : status === "Unknown" ? "warn" : "none"}`} aria-hidden="true" />;
}

function Last({ pipeline, now }: { pipeline: Pipeline; now: number }) {
  const found = pipeline.ordinals.filter((each) => each.last_profile).sort((a, b) => (a.last_profile!.finished_at < b.last_profile!.finished_at ? 1 : -1))[0];
  if (!found) return <div class="last faint">No profile yet</div>;
  const last = found.last_profile!;
  return (
    <div class="last">
      <a href={href(["profiles", pipeline.name, last.id])} class="clip" title={formatExact(last.finished_at)}>
        <u>{formatAge(last.finished_at, now)}</u>{pipeline.ordinals.length > 1 && <span class="faint"> · ordinal {found.ordinal}</span>}
      </a>
      <small><Verdict quality={last} /> <Coverage value={last.coverage} /></small>
    </div>
  );
}

export function canRecord(pipeline: Pipeline): boolean {
  return pipeline.status === "Running";
}

function matches(pipeline: Pipeline, search: string): boolean {
  const text = [pipeline.name, pipeline.namespace, ...pipeline.ordinals.flatMap((each) => [each.pod, each.node])].join(" ").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function fits(pipeline: Pipeline, filter: Filter): boolean {
  switch (filter) {
    case "running":
      return pipeline.status === "Running";
    case "recording":
      return pipeline.ordinals.some((each) => each.in_progress);
    case "none":
      return pipeline.ordinals.every((each) => !each.last_profile);
    default:
      return true;
  }
}

function describe(all: Pipeline[], shown: Pipeline[]): string {
  const running = all.filter((each) => each.status === "Running").length;
  const recording = all.reduce((sum, each) => sum + each.ordinals.filter((ordinal) => ordinal.in_progress).length, 0);
  const words = [`${all.length} ${all.length === 1 ? "pipeline" : "pipelines"}`, `${running} running`];
  if (recording) words.push(`${recording} recording now`);
  if (shown.length !== all.length) words.push(`${shown.length} shown`);
  return words.join(" · ");
}

function Nothing({ isAny }: { isAny: boolean }) {
  if (isAny)
    return (
      <Empty icon="search" title="No matching pipelines">
        <button type="button" class="button" onClick={() => go(href([]))}>Show all</button>
      </Empty>
    );
  return (
    <Empty icon="layers" title="No pipelines yet">
      <p>No pods match <code>config.targets.podSelector</code> in the namespaces where you have permission to <code>get samplyprofiles</code>.</p>
    </Empty>
  );
}
