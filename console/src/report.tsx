// The page of a report that was saved: the viewer over trees that the file holds.
import { render } from "preact";
import { useState } from "preact/hooks";
import { formatTime } from "./core/format";
import { Logo } from "./parts/icons";
import { Note, Toasts } from "./parts/notes";
import { listWarnings } from "./parts/quality";
import { Facts } from "./parts/facts";
import type { Report } from "./report-file";
import type { Source, View } from "./viewer/viewer";
import { Viewer } from "./viewer/viewer";

const report = JSON.parse(document.getElementById("report")!.textContent!) as Report;

function ReportPage() {
  const [state, setState] = useState(report.state.view === "sandwich" ? { ...report.state, view: "flame" as View } : report.state);
  const [attempt, before] = report.attempts;
  const source: Source = {
    loadTree: async (query) => report.trees[query.view],
    loadTimeline: report.timeline ? async () => report.timeline! : undefined,
    views: ["flame", "inverted", "tree", "table"],
    bys: ["none"],
    isFixed: true,
    quality: before ? undefined : attempt.quality,
  };
  const [held] = useState(source);
  return (
    <main>
      <div class="head">
        <div>
          <p class="crumbs">Report of samply-operator, made {formatTime(report.made_at)}</p>
          <h1 class="name row wrap"><span class="brand"><Logo /></span>{attempt.pipeline_name} <span class="faint">ordinal {attempt.ordinal}</span></h1>
          <p class="soft">{before ? <>{formatTime(before.finished_at)} (<span class="name">{before.pipeline_name}</span> {before.ordinal}) compared with {formatTime(attempt.finished_at)}</> : formatTime(attempt.finished_at)}</p>
        </div>
      </div>
      <div class="stack">
        {!before && <Facts attempt={attempt} />}
        {!before && <div class="notes">{listWarnings(attempt).map((each) => <Note key={each.text} tone={each.tone} title={each.title}>{each.text}</Note>)}</div>}
        <Viewer source={held} state={state} change={(changes) => setState((old) => ({ ...old, ...changes }))} />
      </div>
      <Toasts />
    </main>
  );
}

render(<ReportPage />, document.getElementById("app")!);
