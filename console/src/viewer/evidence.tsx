// How much of what ran is in the graph, as a row of the graph: named, without names, and not sampled at all.
import { formatPercent } from "../core/format";
import type { Quality } from "../core/types";

export function Evidence({ quality, isPart }: { quality: Quality; isPart: boolean }) {
  const coverage = quality.coverage === null ? 1 : Math.min(1, quality.coverage);
  const nameless = (quality.unresolved_percent ?? 0) / 100;
  if (coverage > 0.95 && nameless < 0.05 && !quality.lost_events) return null;
  const parts = [
    { share: coverage * (1 - nameless), kind: "named", text: "sampled, with names" },
    { share: coverage * nameless, kind: "nameless", text: "without names" },
    { share: 1 - coverage, kind: "missing", text: "not sampled" },
  ].filter((each) => each.share > 0.004);
  const words = parts.map((each) => `${formatPercent(100 * each.share)} ${each.text}`).join(", ");
  return (
    <div class="evidence" role="img" aria-label={`Of the CPU time that the process used: ${words}`}>
      <div class="evidence-bar" aria-hidden="true">
        {parts.map((each) => <span key={each.kind} class={each.kind} style={{ flexGrow: each.share }} title={`${formatPercent(100 * each.share)} ${each.text}`}>{each.share > 0.12 ? `${formatPercent(100 * each.share)} ${each.text}` : ""}</span>)}
      </div>
      <small class="faint">
        The graph's share of the CPU time that the process used{isPart ? ", of the whole recording" : ""}.
        {quality.lost_events ? ` The kernel dropped ${quality.lost_events} samples.` : ""}
      </small>
    </div>
  );
}
