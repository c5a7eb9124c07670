// Out of the console: the file, other viewers, and a report that needs nothing but itself.
import { useEffect, useState } from "preact/hooks";
import { profilePath, send } from "../core/api";
import { consoleBase } from "../core/config";
import { cleanName, formatBytes } from "../core/format";
import { asProblem, usePolled } from "../core/hooks";
import type { Attempt } from "../core/types";
import { buildReport } from "../report-file";
import type { Source, ViewerState } from "../viewer/viewer";
import { Icon } from "./icons";
import { LinkDialog } from "./link";
import { Loading, Menu, ProblemNote, toast } from "./notes";

const ATTACHMENTS: Record<string, string> = { Stats: "Stats", Metrics: "Metrics", CircuitProfile: "Circuit profile", HeapProfile: "Heap profile" };

interface Props {
  attempt: Attempt;
  source: Source;
  state: ViewerState;
  onSpeedscope: () => void;
}

export function WaysOut({ attempt, source, state, onSpeedscope }: Props) {
  const [isLinking, setLinking] = useState(false);
  const path = profilePath(attempt.pipeline_name, attempt.id);
  const item = (icon: string, title: string, text: string, act: () => void) => (
    <button type="button" onClick={act}><Icon name={icon} /><span>{title}<small>{text}</small></span></button>
  );
  return (
    <>
      <Menu label="Open or save" icon="download">
        {item("external", "Firefox Profiler", "Opens in a new tab with an expiring link", () => setLinking(true))}
        {item("link", "Expiring link", "Downloads the file without signing in", () => setLinking(true))}
        {item("flame", "speedscope", "Opens in this page", onSpeedscope)}
        {item("report", "HTML report", "A single file that works offline", () => saveReport([attempt], source, state))}
        {item("download", "Profile", "samply's file with function names (.json.gz)", () => attemptSave(() => saveFile(`${path}/profile`, attempt)))}
        {item("download", "pprof", "For go tool pprof (.pb.gz)", () => attemptSave(() => saveFile(`${path}/profile?format=pprof`, attempt)))}
        {item("download", "Folded stacks", "For FlameGraph and others (.txt)", () => attemptSave(() => saveFile(`${path}/profile?format=folded`, attempt)))}
        {attempt.attachments?.map(({ kind, name, file }) =>
          name && file && item("download", ATTACHMENTS[kind] ?? cleanName(kind, 40), `From Feldera, during the recording (${formatBytes(file.size_bytes)}, .gz)`, () => attemptSave(() => saveFile(`${path}/attachments/${encodeURIComponent(name)}`, attempt))))}
      </Menu>
      {isLinking && <LinkDialog attempt={attempt} onClose={() => setLinking(false)} />}
    </>
  );
}

async function attemptSave(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    toast("bad", asProblem(error).message);
  }
}

async function saveFile(path: string, attempt: Attempt): Promise<void> {
  const response = await send("GET", path);
  const named = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  save(await response.blob(), named ?? `${attempt.pipeline_name}-${attempt.ordinal}.json.gz`);
}

export function saveReport(attempts: Attempt[], source: Source, state: ViewerState): Promise<void> {
  toast("info", "Making the report…");
  return attemptSave(async () => {
    const html = await buildReport(attempts, source, state);
    const stamp = attempts[0].finished_at.slice(0, 16).replace(/[-:T]/g, "");
    save(new Blob([html], { type: "text/html" }), `${attempts.map((each) => `${each.pipeline_name}-${each.ordinal}`).join("-vs-")}-${stamp}.html`);
  });
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** speedscope gets the profile as a blob of this page: it cannot reach the API itself. */
export function Speedscope({ attempt, onClose }: { attempt: Attempt; onClose: () => void }) {
  const path = `${profilePath(attempt.pipeline_name, attempt.id)}/profile?format=speedscope`;
  const { data, problem, reload } = usePolled(path, null, async (signal) => URL.createObjectURL(await (await send("GET", path, signal)).blob()));
  useEffect(() => () => { if (data) URL.revokeObjectURL(data); }, [data]);
  const title = `${attempt.pipeline_name} ${attempt.ordinal}`;
  return (
    <section class="card" aria-label="speedscope">
      <header><h2 class="grow">speedscope</h2><button type="button" class="button small" onClick={onClose}><Icon name="close" /> Back</button></header>
      {problem && <div class="pad"><ProblemNote problem={problem} retry={reload} /></div>}
      {!data && !problem && <div class="pad"><Loading what="Converting the profile…" /></div>}
      {data && <iframe class="frame-box" title="speedscope" src={`${consoleBase}speedscope/#profileURL=${encodeURIComponent(data)}&title=${encodeURIComponent(title)}`} />}
    </section>
  );
}
