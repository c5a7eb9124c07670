import { useState } from "preact/hooks";
import { get, profilePath, query } from "../core/api";
import { formatAge, formatExact } from "../core/format";
import { useKey, usePolled, useSettled, useTitle } from "../core/hooks";
import { href, setParams, usePlace } from "../core/router";
import type { Entry, Ordinal, Pipeline, Recording } from "../core/types";
import { hasEnded } from "../core/types";
import { buildQuery, FilterBar, type Filters, readFilters } from "../parts/filters";
import { History } from "../parts/history";
import { Icon } from "../parts/icons";
import { Empty, ProblemNote, Skeleton } from "../parts/notes";
import { Coverage, Verdict } from "../parts/quality";
import { RecordDialog } from "../parts/record";
import { MiniRing } from "../parts/ring";
import { canRecord, StatusDot } from "./pipelines";

interface Page {
  profiles: Entry[];
  next: string | null;
}

export function PipelinePage({ namespace, name }: { namespace: string; name: string }) {
  useTitle(name);
  const { params } = usePlace();
  const filters = readFilters(params);
  const isFiltered = Object.values(filters).some(Boolean);
  const search = useSettled(filters.search, 250);
  // The pages before this one: each begins after one of these.
  const after = (params.get("after") ?? "").split(",").filter((each) => /^[0-9a-f-]{36}$/.test(each));
  const [dialog, setDialog] = useState<{ ordinal?: number } | null>(null);
  const found = usePolled("pipelines", 5, (signal) => get<{ pipelines: Pipeline[] }>("/v0/pipelines", signal));
  const pipeline = found.data?.pipelines.find((each) => each.name === name && each.namespace === namespace);
  const asked = query({ ...buildQuery({ ...filters, search }), namespace, limit: 50, after: after[after.length - 1] });
  const history = usePolled<Page>(asked, after.length ? null : 3, (signal) => get(`${profilePath(name)}${asked}`, signal));
  useKey((event) => {
    if (event.key === "r" && pipeline && canRecord(pipeline) && !dialog) {
      event.preventDefault();
      setDialog({});
    }
  });
  const turn = (pages: string[]) => setParams({ after: pages.join(",") }, "push");
  const change = ({ search: q, ...others }: Partial<Filters>) => {
    setParams({ ...others, ...(q === undefined ? {} : { q }), after: null });
  };
  return (
    <>
      <div class="head">
        <div>
          <nav class="crumbs" aria-label="Breadcrumb"><a href={href([])}>Pipelines</a><span>/</span><span>{namespace}</span></nav>
          <h1 class="name">{name}</h1>
          {pipeline && <p class="row soft"><StatusDot status={pipeline.status} /> {pipeline.status}</p>}
        </div>
        <button type="button" class="button primary" disabled={!pipeline || !canRecord(pipeline)} onClick={() => setDialog({})}><Icon name="record" /> Record</button>
      </div>
      <div class="stack">
        {pipeline && pipeline.ordinals.length > 0 && <Ordinals pipeline={pipeline} entries={history.data?.profiles ?? []} onRecord={(each) => setDialog({ ordinal: each })} />}
        <section class="card" aria-label="History">
          <header>
            <h2 class="grow">History</h2>
            <Chosen pipeline={name} params={params} entries={history.data?.profiles ?? []} />
          </header>
          <FilterBar filters={filters} ordinals={pipeline?.ordinals.map((each) => each.ordinal) ?? []} change={change} />
          <div class={`loading-line ${history.isOld && history.isLoading ? "on" : ""}`} />
          {history.problem && <div class="pad"><ProblemNote problem={history.problem} retry={history.reload} /></div>}
          {!history.data && history.isLoading && <Skeleton rows={4} />}
          {history.data && history.data.profiles.length === 0 && (
            <Empty icon="clock" title={isFiltered ? "No matching attempts" : "No profile yet"}>
              <p>{isFiltered ? "No attempt matches the filters above." : "Press Record to see where this pipeline spends its CPU time."}</p>
            </Empty>
          )}
          {history.data && history.data.profiles.length > 0 && (
            <div class="scroll-x"><History entries={history.data.profiles} chosen={readChosen(params)} onChoose={(id) => choose(params, id)} onChange={history.reload} /></div>
          )}
          {(after.length > 0 || history.data?.next) && (
            <div class="pad row">
              <button type="button" class="button small" disabled={!after.length} onClick={() => turn(after.slice(0, -1))}>Newer</button>
              <button type="button" class="button small" disabled={!history.data?.next} onClick={() => turn([...after, history.data!.next!])}>Older</button>
            </div>
          )}
        </section>
      </div>
      {dialog && pipeline && <RecordDialog pipeline={pipeline} ordinal={dialog.ordinal} onClose={() => { setDialog(null); history.reload(); }} />}
    </>
  );
}

function readChosen(params: URLSearchParams): string[] {
  return (params.get("compare") ?? "").split(",").filter(Boolean);
}

/** At most two are chosen: a third takes the place of the first. */
function choose(params: URLSearchParams, id: string): void {
  const chosen = readChosen(params);
  const next = chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen.slice(-1), id];
  setParams({ compare: next.join(",") });
}

function Chosen({ pipeline, params, entries }: { pipeline: string; params: URLSearchParams; entries: Entry[] }) {
  const chosen = readChosen(params);
  if (chosen.length === 0 && entries.length < 2) return null;
  if (chosen.length < 2) return <span class="hint">{chosen.length ? "Select one more to compare" : "Select two to compare"}</span>;
  // Whichever was chosen first: the older one, which is further down, is the one before.
  const place = (id: string) => entries.findIndex((each) => each.id === id);
  const [before, after] = chosen.sort((a, b) => place(b) - place(a)).map((id) => `${pipeline}/${id}`);
  return <a class="button small" href={href(["compare"], { before, after })}><Icon name="swap" /> Compare both</a>;
}

function Ordinals({ pipeline, entries, onRecord }: { pipeline: Pipeline; entries: Entry[]; onRecord: (ordinal: number) => void }) {
  const running = new Map(entries.filter((each): each is Recording => !hasEnded(each)).map((each) => [each.id, each]));
  return (
    <section class="card" aria-label="Ordinals">
      <header><h2>{pipeline.ordinals.length === 1 ? "One ordinal" : `${pipeline.ordinals.length} ordinals`}</h2></header>
      <div class="scroll-x">
        <table class="table cards">
          <thead><tr><th>Ordinal</th><th>State</th><th>Pod</th><th>Node</th><th>Last profile</th><th>Verdict</th><th>Coverage</th><th><span class="hidden">Actions</span></th></tr></thead>
          <tbody>{pipeline.ordinals.map((each) => <OrdinalRow key={each.ordinal} pipeline={pipeline.name} ordinal={each} recording={running.get(each.in_progress ?? "")} onRecord={onRecord} />)}</tbody>
        </table>
      </div>
    </section>
  );
}

function OrdinalRow({ pipeline, ordinal, recording, onRecord }: { pipeline: string; ordinal: Ordinal; recording?: Recording; onRecord: (ordinal: number) => void }) {
  const last = ordinal.last_profile;
  return (
    <tr>
      <td data-label="Ordinal" class="num"><strong>{ordinal.ordinal}</strong></td>
      <td data-label="State"><span class="row"><StatusDot status={ordinal.status} /> {ordinal.status}</span></td>
      <td data-label="Pod"><span class="name">{ordinal.pod ?? ""}</span></td>
      <td data-label="Node"><span class="name">{ordinal.node ?? ""}</span></td>
      <td data-label="Last profile">{last ? <a href={href(["profiles", pipeline, last.id])} title={formatExact(last.finished_at)}><u>{formatAge(last.finished_at)}</u></a> : <span class="faint">None yet</span>}</td>
      <td data-label="Verdict">{last && <Verdict quality={last} />}</td>
      <td data-label="Coverage">{last && <Coverage value={last.coverage} />}</td>
      <td class="end">
        {ordinal.in_progress ? (
          <a class="button small" href={href(["profiles", pipeline, ordinal.in_progress])}>{recording ? <MiniRing recording={recording} /> : <span class="dot live" />} Recording</a>
        ) : (
          <button type="button" class="button small" disabled={ordinal.status !== "Running"} onClick={() => onRecord(ordinal.ordinal)} aria-label={`Record ordinal ${ordinal.ordinal}`}><Icon name="record" /> Record</button>
        )}
      </td>
    </tr>
  );
}
