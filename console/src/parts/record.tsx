// Starting a recording: what, how long, and whether it would work.
import { useEffect, useRef, useState } from "preact/hooks";
import { profilePath, type Problem, query, send } from "../core/api";
import { config } from "../core/config";
import { asProblem } from "../core/hooks";
import { go, href } from "../core/router";
import type { Pipeline, Preflight, Started } from "../core/types";
import { Icon } from "./icons";
import { Dialog, Note, ProblemNote, toast } from "./notes";

const DURATIONS: [number, string][] = [[30, "30 s"], [60, "1 min"], [120, "2 min"], [300, "5 min"]];

const MODES: Record<string, string> = {
  Auto: "Automatic",
  InPlace: "InPlace: samply in the container's image",
  BringOwn: "BringOwn: samply copied into the container",
  Ephemeral: "Ephemeral: samply in an ephemeral container",
  Pipeline: "Pipeline: started by Feldera, with SQL operators",
};

function isWhole(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= most;
}

export function RecordDialog({ pipeline, ordinal, onClose }: { pipeline: Pipeline; ordinal?: number; onClose: () => void }) {
  const running = pipeline.ordinals.filter((each) => each.status === "Running");
  const [chosen, setChosen] = useState<string>(ordinal !== undefined ? String(ordinal) : running.length > 1 ? "all" : String(running[0]?.ordinal ?? 0));
  const [secs, setSecs] = useState(config.durationSecs);
  const [isFree, setFree] = useState(!DURATIONS.some(([each]) => each === config.durationSecs));
  const [rate, setRate] = useState(config.rateHz);
  const [mode, setMode] = useState(config.mode);
  const [state, setState] = useState<"" | "checking" | "starting">("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [checked, setChecked] = useState<{ asked: string; found: Preflight } | null>(null);
  const [isLengthValid, isRateValid] = [isWhole(secs, config.maxDurationSecs), isWhole(rate, config.maxRateHz)];
  const isValid = isLengthValid && isRateValid;
  // What is as the installation has it anyway is left to it.
  const build = (ordinal: string) =>
    query({ ordinal, duration_secs: secs, rate_hz: rate === config.rateHz ? null : rate, mode: mode === config.mode ? null : mode, namespace: pipeline.namespace });

  async function act(what: "checking" | "starting", work: () => Promise<void>) {
    setState(what);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(asProblem(error));
    }
    setState("");
  }
  const check = () =>
    act("checking", async () => {
      const one = chosen === "all" ? String(running[0]?.ordinal ?? 0) : chosen;
      const answer = await send("POST", `/v0/pipelines/${encodeURIComponent(pipeline.name)}/samply_profile/preflight${build(one)}`);
      setChecked({ asked: build(chosen), found: await answer.json() });
    });
  const start = () =>
    act("starting", async () => {
      const answer = await send("POST", `/v0/pipelines/${encodeURIComponent(pipeline.name)}/samply_profile${build(chosen)}`);
      onClose();
      await follow(answer, pipeline, chosen);
    });

  return (
    <Dialog title={`Record ${pipeline.name}`} onClose={onClose}>
      <form onSubmit={(event) => { event.preventDefault(); if (isValid && !state) void start(); }}>
        <div>
          <h2 class="name">Record {pipeline.name}</h2>
          <p class="soft">Takes CPU samples of every thread while the pipeline runs.</p>
        </div>
        {pipeline.ordinals.length > 1 && (
          <fieldset class="plain field">
            <legend>Ordinal</legend>
            <div class="segments">
              <Choice name="ordinal" label={`All ${running.length}`} isOn={chosen === "all"} choose={() => setChosen("all")} />
              {running.map((each) => (
                <Choice key={each.ordinal} name="ordinal" label={String(each.ordinal)} isOn={chosen === String(each.ordinal)} choose={() => setChosen(String(each.ordinal))} />
              ))}
            </div>
          </fieldset>
        )}
        <fieldset class="plain field">
          <legend>Duration</legend>
          <div class="row wrap">
            <div class="segments">
              {DURATIONS.map(([each, label]) => (
                <Choice key={each} name="duration" label={label} isOn={!isFree && secs === each} choose={() => { setFree(false); setSecs(each); }} />
              ))}
              <Choice name="duration" label="Other" isOn={isFree} choose={() => setFree(true)} />
            </div>
            {isFree && (
              <label class="row">
                <input class="input short num" type="number" min={1} max={config.maxDurationSecs} value={secs} aria-label="Seconds" onInput={(event) => setSecs(event.currentTarget.valueAsNumber)} /> s
              </label>
            )}
          </div>
          {!isLengthValid && <small class="bad-text">A whole number of seconds from 1 to {config.maxDurationSecs}.</small>}
        </fieldset>
        <div class="row wrap options">
          <label class="field">
            Samples per second
            <span class="row"><input class="input short num" type="number" min={1} max={config.maxRateHz} value={rate} onInput={(event) => setRate(event.currentTarget.valueAsNumber)} /> Hz</span>
          </label>
          <label class="field">
            Mode
            <select class="input" value={mode} onChange={(event) => setMode(event.currentTarget.value)}>
              {config.modes.map((each) => <option key={each} value={each}>{MODES[each] ?? each}</option>)}
            </select>
          </label>
        </div>
        {!isRateValid && <small class="bad-text">A whole number of samples per second from 1 to {config.maxRateHz}.</small>}
        {problem && <ProblemNote problem={problem} />}
        {checked?.asked === build(chosen) && <Findings found={checked.found} isOneOfMany={chosen === "all" && running.length > 1} />}
        {!config.enabled && <Note tone="warn" title="Recording is disabled">Disabled by <code>config.recording.enabled: false</code>.</Note>}
        <footer>
          <button type="button" class="button quiet" onClick={onClose}>Cancel</button>
          <button type="button" class="button" disabled={!isValid || state !== ""} onClick={check}>
            {state === "checking" ? <span class="spinner" /> : <Icon name="check" />} Check first
          </button>
          <button class="button primary" disabled={!isValid || state !== "" || !config.enabled}>
            {state === "starting" ? <span class="spinner" /> : <Icon name="record" />} Record
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

export function Choice({ name, label, isOn, choose }: { name: string; label: string; isOn: boolean; choose: () => void }) {
  return (
    <label>
      <input type="radio" name={name} checked={isOn} onChange={choose} />
      {label}
    </label>
  );
}

const startedAt = new Map<string, number>();

/** Its entry may come a moment after the answer that names it. */
export function wasJustStarted(id: string): boolean {
  return Date.now() - (startedAt.get(id) ?? 0) < 10_000;
}

/** To the profile that will be; to the pipeline where several were started. */
async function follow(answer: Response, pipeline: Pipeline, chosen: string): Promise<void> {
  if (chosen !== "all") {
    const id = (answer.headers.get("Location") ?? "").split("/").pop();
    if (id) startedAt.set(id, Date.now());
    go(id ? href(["profiles", pipeline.name, id]) : href(["pipelines", pipeline.namespace, pipeline.name]));
    return;
  }
  const { started, refused } = (await answer.json()) as Started;
  for (const each of refused) toast("bad", `Ordinal ${each.ordinal}: ${each.message}`);
  for (const each of started) startedAt.set(each.profile, Date.now());
  if (started.length === 1 && refused.length === 0) go(href(["profiles", pipeline.name, started[0].profile]));
  else go(href(["pipelines", pipeline.namespace, pipeline.name]));
}

function Findings({ found, isOneOfMany }: { found: Preflight; isOneOfMany: boolean }) {
  const tone = found.verdict === "Go" ? "good" : found.verdict === "Refuse" ? "bad" : "warn";
  const title = { Go: "A recording would work", GoWithWarning: "A recording would work, with warnings", Refuse: "A recording would be refused" }[found.verdict];
  // In a low window it is below the fields that it is about.
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => ref.current?.scrollIntoView({ block: "nearest" }), [found]);
  return (
    <div class="checks" role="status" ref={ref}>
      <Note tone={tone} title={title}>
        {found.mode && <p>Ordinal {found.ordinal}, mode {found.mode}{found.container && <>, container <span class="name">{found.container}</span></>}.{isOneOfMany && " The other ordinals were not checked."}</p>}
        {found.failure && <p class="name">{found.failure.message} {found.failure.remedy}</p>}
      </Note>
      {found.findings.filter((each) => each.reason !== found.failure?.reason).map((each) => (
        <Note key={each.reason} tone="warn" title={each.reason}><span class="name">{each.message} {each.remedy}</span></Note>
      ))}
      {Object.keys(found.facts).length > 0 && (
        <details>
          <summary class="hint">Facts about the pod</summary>
          <dl class="pairs">{Object.entries(found.facts).map(([key, value]) => <><dt>{key}</dt><dd class="name mono">{value}</dd></>)}</dl>
        </details>
      )}
    </div>
  );
}

export async function stopRecording(pipeline: string, id: string): Promise<void> {
  try {
    await send("POST", `${profilePath(pipeline, id)}/stop`);
    toast("info", "Stopping. The samples taken so far are kept.");
  } catch (error) {
    toast("bad", asProblem(error).message);
  }
}

export async function pinProfile(pipeline: string, id: string, isWanted: boolean): Promise<void> {
  try {
    await send(isWanted ? "PUT" : "DELETE", `${profilePath(pipeline, id)}/pin`);
    toast("info", isWanted ? "Pinned. Retention keeps this profile." : "Unpinned. Retention may delete this profile.");
  } catch (error) {
    toast("bad", asProblem(error).message);
  }
}

export async function removeProfile(pipeline: string, id: string, isRunning: boolean): Promise<boolean> {
  try {
    await send("DELETE", profilePath(pipeline, id));
    toast("info", isRunning ? "Cancelled. Nothing was kept." : "Deleted.");
    return true;
  } catch (error) {
    toast("bad", asProblem(error).message);
    return false;
  }
}
