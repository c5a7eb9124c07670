import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { get, Problem, profilePath } from "../core/api";
import { cleanName, formatExact, formatSecs, formatTime } from "../core/format";
import { useNow, usePolled, useTitle } from "../core/hooks";
import { go, href, setParams, usePlace } from "../core/router";
import { type Attempt, type Entry, hasEnded, type Recording } from "../core/types";
import { PinButton, Who } from "../parts/history";
import { Icon } from "../parts/icons";
import { Confirm, copyText, Empty, Note, ProblemNote, Skeleton } from "../parts/notes";
import { Facts } from "../parts/facts";
import { listWarnings } from "../parts/quality";
import { removeProfile, stopRecording, wasJustStarted } from "../parts/record";
import { phaseOf, Ring, Steps } from "../parts/ring";
import { Speedscope, WaysOut } from "../parts/waysout";
import { useSource } from "../viewer/source";
import { readState, type Source, Viewer, writeState } from "../viewer/viewer";

export function ProfilePage({ pipeline, id }: { pipeline: string; id: string }) {
  const [isOver, setOver] = useState(false);
  const loaded = usePolled<Entry>(id, isOver ? null : 1, async (signal) => {
    const entry = await getEntry(pipeline, id, signal);
    if (hasEnded(entry)) setOver(true);
    return entry;
  });
  const entry = loaded.data;
  const source = useSource({ pipeline, id }, undefined, readState(usePlace().params))!;
  useTitle(entry ? `${pipeline} ${entry.ordinal}` : pipeline);
  if (loaded.problem?.status === 404)
    return (
      <Empty isPage icon="bad" title={entry ? "Profile deleted" : "No such profile"}>
        <p>{entry ? "The recording was cancelled, or the profile was deleted." : "It was deleted, or you do not have permission to see it."}</p>
        <a class="button" href={entry ? href(["pipelines", entry.namespace, pipeline]) : href([])}>{entry ? "Show the pipeline" : "All pipelines"}</a>
      </Empty>
    );
  return (
    <>
      {loaded.problem && <div class="notes gap"><ProblemNote problem={loaded.problem} retry={loaded.reload} /></div>}
      {!entry && !loaded.problem && <Skeleton rows={5} height={60} />}
      {entry && (hasEnded(entry) ? <Ended attempt={entry} loader={source} onChange={loaded.reload} /> : <Running recording={entry} />)}
    </>
  );
}

async function getEntry(pipeline: string, id: string, signal: AbortSignal): Promise<Entry> {
  for (;;) {
    try {
      return await get<Entry>(profilePath(pipeline, id), signal);
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404 && wasJustStarted(id))) throw error;
      await new Promise((done) => setTimeout(done, 500));
    }
  }
}

function Head({ entry, children }: { entry: Entry; children?: ComponentChildren }) {
  return (
    <div class="head">
      <div>
        <nav class="crumbs" aria-label="Breadcrumb">
          <a href={href([])}>Pipelines</a><span>/</span><span>{entry.namespace}</span><span>/</span>
          <a class="name" href={href(["pipelines", entry.namespace, entry.pipeline_name])}>{entry.pipeline_name}</a>
        </nav>
        <h1 class="name">{entry.pipeline_name} <span class="faint">ordinal {entry.ordinal}</span></h1>
        {hasEnded(entry) && <p class="soft" title={formatExact(entry.finished_at)}>{formatTime(entry.finished_at)}{(entry.trigger ?? entry.requested_by) && <> · requested by <Who attempt={entry} /></>}</p>}
      </div>
      <div class="row wrap">{children}</div>
    </div>
  );
}

function Running({ recording }: { recording: Recording }) {
  const [isCancelling, setCancelling] = useState(false);
  const phase = phaseOf(recording, useNow(500));
  const canStop = phase === "Recording";
  return (
    <>
      <Head entry={recording} />
      <section class="card recording" aria-label="The recording">
        <Ring recording={recording} />
        <Steps recording={recording} />
        <p class="soft" role="status">{explain(recording, phase)}</p>
        <div class="row wrap">
          <button type="button" class="button" disabled={!canStop} onClick={() => stopRecording(recording.pipeline_name, recording.id)}><Icon name="stop" /> Stop and keep</button>
          <button type="button" class="button danger" onClick={() => setCancelling(true)}><Icon name="close" /> Cancel</button>
        </div>
        <p class="hint">You can close or reload this page. The recording continues, and this address shows it.</p>
      </section>
      {isCancelling && (
        <Confirm title="Cancel this recording?" text="The samples taken so far are discarded. The pipeline keeps running." action="Cancel the recording" otherwise="Keep recording" onClose={() => setCancelling(false)}
          onYes={async () => (await removeProfile(recording.pipeline_name, recording.id, true)) && go(href(["pipelines", recording.namespace, recording.pipeline_name]))} />
      )}
    </>
  );
}

function explain(recording: Recording, phase: Recording["state"]): string {
  switch (phase) {
    case "Pending":
      return recording.queue_position ? "Waiting for other recordings to finish." : "Waiting to start.";
    case "Recording":
      return recording.ends_at ? `Sampling every thread for ${formatSecs(recording.duration_secs)}.` : "samply is attaching to the process.";
    default:
      return "The profile is copied from the pod and gets its function names. Then it opens here.";
  }
}

function Ended({ attempt, loader, onChange }: { attempt: Attempt; loader: Source; onChange: () => void }) {
  const [isRemoving, setRemoving] = useState(false);
  const { params } = usePlace();
  const [shows, setShows] = useState<"own" | "speedscope">("own");
  const warnings = useMemo(() => listWarnings(attempt), [attempt]);
  const source = useMemo(() => ({ ...loader, quality: attempt.quality }), [loader]);
  const back = href(["pipelines", attempt.namespace, attempt.pipeline_name]);
  return (
    <>
      <Head entry={attempt}>
        {attempt.file && <a class="button" href={href(["compare"], { after: `${attempt.pipeline_name}/${attempt.id}` })}><Icon name="swap" /> Compare</a>}
        {attempt.file && <button type="button" class="button" onClick={() => copyText(location.href, "Link to this view")}><Icon name="link" /> Copy link</button>}
        {attempt.file && <WaysOut attempt={attempt} source={source} state={readState(params)} onSpeedscope={() => setShows("speedscope")} />}
        <PinButton attempt={attempt} onChange={onChange} />
        <button type="button" class="button quiet icon" aria-label="Delete" title="Delete" onClick={() => setRemoving(true)}><Icon name="trash" /></button>
      </Head>
      <div class="stack">
        {attempt.failure && <Failed attempt={attempt} />}
        {attempt.file && <Facts attempt={attempt} />}
        {attempt.file && warnings.length > 0 && <div class="notes">{warnings.map((each) => <Note key={each.title + each.text} tone={each.tone} title={each.title}><span class="name">{each.text}</span></Note>)}</div>}
        {attempt.file && shows === "own" && <Viewer source={source} state={readState(params)} change={(changes, how) => setParams(writeState(changes), how)} />}
        {attempt.file && shows === "speedscope" && <Speedscope attempt={attempt} onClose={() => setShows("own")} />}
      </div>
      {isRemoving && (
        <Confirm title="Delete this profile?" text={`${attempt.pipeline_name}, ordinal ${attempt.ordinal}, ${formatTime(attempt.finished_at)}. This deletes its object and its file and cannot be undone.`} action="Delete" onClose={() => setRemoving(false)}
          onYes={async () => (await removeProfile(attempt.pipeline_name, attempt.id, false)) && go(back)} />
      )}
    </>
  );
}

function Failed({ attempt }: { attempt: Attempt }) {
  const failure = attempt.failure!;
  return (
    <section class="failure" aria-label="Failure">
      <Note tone="bad" title={`Recording failed: ${cleanName(failure.reason, 80)}`}><span class="name">{failure.message}</span></Note>
      {failure.remedy && <Note tone="info" title="Remedy"><span class="name">{failure.remedy}</span></Note>}
      {failure.log && (
        <section class="card" aria-label="Log"><header><h2 class="grow">Output of samply</h2><button type="button" class="button small" onClick={() => copyText(failure.log, "The log")}><Icon name="copy" /> Copy</button></header><pre class="log" tabIndex={0}>{failure.log}</pre></section>
      )}
    </section>
  );
}
