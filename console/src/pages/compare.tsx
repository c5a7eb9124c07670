import { useState } from "preact/hooks";
import { get, profilePath, query } from "../core/api";
import { formatAge, formatExact, formatTime } from "../core/format";
import { useLoaded, useTitle } from "../core/hooks";
import { setParams, usePlace, href } from "../core/router";
import { type Attempt, type Entry, hasEnded, type Pipeline } from "../core/types";
import { Icon } from "../parts/icons";
import { copyText, Dialog, Empty, Loading, Note, ProblemNote, Skeleton } from "../parts/notes";
import { Coverage, Verdict } from "../parts/quality";
import { saveReport } from "../parts/waysout";
import { parseRef, type Ref, useSource } from "../viewer/source";
import { formatThreads } from "../viewer/threads";
import { readState, Viewer, type ViewerState, writeState } from "../viewer/viewer";

type Side = "before" | "after";

export function ComparePage() {
  useTitle("Compare");
  const { params } = usePlace();
  const refs = { before: parseRef(params.get("before")), after: parseRef(params.get("after")) };
  const asked = readState(params);
  // Both are of one profile: the threads of another are others.
  const state = { ...asked, threads: null, range: null };
  const source = useSource(refs.after, refs.before, state);
  const before = useAttempt(refs.before);
  const after = useAttempt(refs.after);
  const [picking, setPicking] = useState<Side | null>(null);
  const swap = () => setParams({ before: params.get("after"), after: params.get("before"), zoom: null });
  const isReady = hasFile(before.data) && hasFile(after.data);
  return (
    <>
      <div class="head">
        <div><h1>Compare</h1><p class="soft">Two profiles in one graph. Red frames take a larger share than before, blue frames a smaller one.</p></div>
        {source && isReady && (
          <div class="row wrap">
            <button type="button" class="button" onClick={() => copyText(location.href, "Link to this view")}><Icon name="link" /> Copy link</button>
            <button type="button" class="button" onClick={() => saveReport([after.data, before.data] as Attempt[], source, state)}><Icon name="report" /> HTML report</button>
          </div>
        )}
      </div>
      <div class="pair">
        <Picked side="Before" loaded={before} pick={() => setPicking("before")} />
        <button type="button" class="button icon" aria-label="Swap" title="Swap" onClick={swap}><Icon name="swap" /></button>
        <Picked side="After" loaded={after} pick={() => setPicking("after")} />
      </div>
      {(asked.range || asked.threads) && <Unused state={asked} />}
      {source && isReady && (
        <Viewer key={`${refs.before!.id} ${refs.after!.id}`} source={source} state={state} change={(changes, how) => setParams(writeState(changes), how)} />
      )}
      {source && !isReady && (before.isLoading || after.isLoading) && <Skeleton rows={5} height={60} />}
      {!source && (
        <div class="card"><Empty icon="swap" title="Choose two profiles"><p>For example of two days, two ordinals or two pipelines.</p></Empty></div>
      )}
      {picking && <Picker side={picking} start={(picking === "before" ? after : before).data} onClose={() => setPicking(null)} />}
    </>
  );
}

/** The address of one profile's view may become that of a comparison. */
function Unused({ state: { range, threads } }: { state: ViewerState }) {
  const parts = [range && `from ${range.from} s to ${range.to} s`, threads && `threads ${formatThreads(threads)}`].filter(Boolean);
  return (
    <div class="notes gap">
      <Note tone="info" title="Whole recordings are compared">
        <p>The selection in this address ({parts.join(", ")}) is of one profile. It is not used here.</p>
        <p><button type="button" class="button small" onClick={() => setParams({ t: null, threads: null })}><Icon name="close" /> Clear the selection</button></p>
      </Note>
    </div>
  );
}

function useAttempt(ref: Ref | null) {
  return useLoaded<Entry | null>(ref ? `${ref.pipeline}/${ref.id}` : "none", async (signal) => (ref ? get<Entry>(profilePath(ref.pipeline, ref.id), signal) : null));
}

function hasFile(entry: Entry | null): entry is Attempt {
  return entry !== null && hasEnded(entry) && entry.file !== undefined;
}

function Picked({ side, loaded, pick }: { side: string; loaded: ReturnType<typeof useAttempt>; pick: () => void }) {
  const entry = loaded.data;
  const attempt = entry && hasEnded(entry) ? entry : null;
  return (
    <section class="card" aria-label={side}>
      <span>{side}</span>
      {loaded.problem && <ProblemNote problem={loaded.problem} />}
      {entry && <a href={href(["profiles", entry.pipeline_name, entry.id])}><h2 class="name"><u>{entry.pipeline_name}</u> <span class="faint">ordinal {entry.ordinal}</span></h2></a>}
      {entry && !hasFile(entry) && <p class="soft">{attempt ? "This recording failed. There is no profile to compare." : "This recording has not ended yet."}</p>}
      {!entry && <p class="faint">{loaded.isLoading ? "Loading…" : "No profile chosen."}</p>}
      {attempt && <div class="row wrap"><span title={formatExact(attempt.finished_at)}>{formatTime(attempt.finished_at)}</span><Verdict quality={attempt.quality} failed={attempt.state === "Failed"} />{attempt.file && <Coverage value={attempt.quality.coverage} />}</div>}
      <div><button type="button" class="button small" onClick={pick}>{entry ? "Change" : "Choose"}</button></div>
    </section>
  );
}

function Picker({ side, start, onClose }: { side: Side; start: Entry | null; onClose: () => void }) {
  const pipelines = useLoaded("pipelines", (signal) => get<{ pipelines: Pipeline[] }>("/v0/pipelines", signal));
  const [search, setSearch] = useState("");
  const [chosen, setChosen] = useState<{ namespace: string; name: string } | null>(start && { namespace: start.namespace, name: start.pipeline_name });
  const shown = (pipelines.data?.pipelines ?? []).filter((each) => `${each.name} ${each.namespace}`.toLowerCase().includes(search.toLowerCase()));
  return (
    <Dialog title="Choose a profile" onClose={onClose}>
      <div>
        <h2>{chosen ? <span class="name">Profiles of {chosen.name}</span> : "Choose a pipeline"}</h2>
        {chosen ? (
          <Profiles chosen={chosen} pick={(attempt) => { setParams({ [side]: `${attempt.pipeline_name}/${attempt.id}`, zoom: null }); onClose(); }} />
        ) : (
          <>
            <input class="input" type="search" aria-label="Search pipelines" placeholder="Search" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
            <div class="picker">
              {pipelines.problem && <ProblemNote problem={pipelines.problem} />}
              {pipelines.isLoading && <Loading what="Loading…" />}
              {shown.map((each) => <button key={`${each.namespace}/${each.name}`} type="button" onClick={() => setChosen(each)}><span class="name">{each.name}</span><small>{each.namespace}</small></button>)}
            </div>
          </>
        )}
        <footer>
          {chosen && <button type="button" class="button quiet" onClick={() => setChosen(null)}>Another pipeline</button>}
          <button type="button" class="button" onClick={onClose}>Close</button>
        </footer>
      </div>
    </Dialog>
  );
}

function Profiles({ chosen, pick }: { chosen: { namespace: string; name: string }; pick: (attempt: Attempt) => void }) {
  const asked = query({ namespace: chosen.namespace, limit: 200 });
  const history = useLoaded(`${chosen.name}${asked}`, (signal) => get<{ profiles: Entry[] }>(`${profilePath(chosen.name)}${asked}`, signal));
  const found = (history.data?.profiles ?? []).filter((each): each is Attempt => hasEnded(each) && each.file !== undefined);
  return (
    <div class="picker">
      {history.problem && <ProblemNote problem={history.problem} />}
      {history.isLoading && <Loading what="Loading…" />}
      {history.data && found.length === 0 && <p class="faint">This pipeline has no profiles yet.</p>}
      {found.map((each) => (
        <button key={each.id} type="button" onClick={() => pick(each)}>
          <span>{formatTime(each.finished_at)} <span class="faint">ordinal {each.ordinal}</span></span>
          <span class="row"><small>{formatAge(each.finished_at)}</small><Coverage value={each.quality.coverage} /></span>
        </button>
      ))}
    </div>
  );
}
