// What is known of a profile, in one line.
import { cleanName, formatBytes, formatCount, formatPercent, formatSecs } from "../core/format";
import type { Attempt } from "../core/types";
import { toneOfCoverage } from "./quality";

export function Facts({ attempt }: { attempt: Attempt }) {
  const { quality, target, file } = attempt;
  const facts: [string, string, string?][] = [
    ["Samples", quality.samples === null ? "–" : formatCount(quality.samples)],
    ["Coverage", quality.coverage === null ? "unknown" : `${Math.round(quality.coverage * 100)}%`, toneOfCoverage(quality.coverage)],
    ["Lost", quality.lost_events === null ? "–" : formatCount(quality.lost_events), quality.lost_events ? "warn" : ""],
    ["Without names", quality.unresolved_percent === null ? "–" : formatPercent(quality.unresolved_percent), (quality.unresolved_percent ?? 0) > 5 ? "warn" : ""],
    ["CPU used", quality.cpu_secs === null ? "–" : formatSecs(quality.cpu_secs)],
    ["Length", formatSecs(attempt.duration_secs)],
    ["Rate", `${formatCount(attempt.rate_hz)} Hz`],
    ["Size", file ? formatBytes(file.size_bytes) : "–"],
    ["Mode", target.mode ?? "–"],
    ["Node", target.node ? cleanName(target.node, 80) : "–"],
  ];
  return (
    <section class="card" aria-label="Facts"><dl class="facts pad">{facts.map(([name, value, tone]) => <div key={name}><dt>{name}</dt><dd class={`name ${tone === "good" ? "" : (tone ?? "")}`}>{value}</dd></div>)}</dl></section>
  );
}
