// How complete the evidence is, in the same words and colours everywhere.
import { config } from "../core/config";
import { cleanName, formatCount, formatSecs } from "../core/format";
import type { Attempt, Quality } from "../core/types";
import type { Tone } from "./notes";

export interface Warning {
  tone: Tone;
  title: string;
  text: string;
}

export function toneOfCoverage(coverage: number | null): "good" | "warn" | "bad" | "" {
  if (coverage === null) return "";
  return coverage >= 0.95 ? "good" : coverage >= (config.minCoverage ?? 0.75) ? "warn" : "bad";
}

export function Coverage({ value }: { value: number | null }) {
  if (value === null) return <span class="faint">unknown</span>;
  const percent = Math.round(Math.min(1, value) * 100);
  return (
    <span class="row num" title={`${(value * 100).toFixed(1)}% of the expected samples were taken`}>
      <span class={`meter ${toneOfCoverage(value)}`} aria-hidden="true"><span style={{ width: `${percent}%` }} /></span>
      {percent}%
    </span>
  );
}

export function Verdict({ quality, failed }: { quality: { verdict: string | null; coverage: number | null }; failed?: boolean }) {
  if (failed) return <span class="badge bad">Failed</span>;
  if (quality.verdict) return <span class="badge warn">{quality.verdict}</span>;
  const tone = toneOfCoverage(quality.coverage);
  return tone === "good" || tone === "" ? <span class="badge good">Good</span> : <span class={`badge ${tone}`}>Incomplete</span>;
}

/** What a reader must know before believing a profile; the most serious first. */
export function listWarnings(attempt: Attempt): Warning[] {
  const quality = attempt.quality;
  const found = [...listGaps(quality), ...listNameless(quality)];
  if (quality.verdict === "Idle")
    found.push({ tone: "info", title: "The process was idle", text: "It used almost no CPU time while it was sampled, so the percentages are based on few samples." });
  for (const text of attempt.warnings) found.push({ tone: "warn", title: "Warning of the recording", text });
  return found;
}

function listGaps(quality: Quality): Warning[] {
  const found: Warning[] = [];
  const missing = quality.coverage === null ? 0 : 1 - quality.coverage;
  if (missing > 0.05)
    found.push({
      tone: missing > 0.25 ? "bad" : "warn",
      title: `${Math.round(missing * 100)}% of the samples are missing`,
      text: "The process used CPU time for which no samples were taken. What ran then is not in the graph.",
    });
  if (quality.lost_events)
    found.push({ tone: "warn", title: `${formatCount(quality.lost_events)} samples lost`, text: "The kernel dropped them. Record at a lower rate to lose fewer." });
  if (quality.throttled_secs && quality.throttled_secs >= 0.1)
    found.push({
      tone: "warn",
      title: `Throttled for ${formatSecs(quality.throttled_secs)} by the CPU limit`,
      text: "The container's threads did not run during that time. A CPU profile does not show waiting.",
    });
  return found;
}

function listNameless(quality: Quality): Warning[] {
  if (!quality.unresolved_percent || quality.unresolved_percent < 5) return [];
  const stripped = Object.entries(quality.unresolved_by_library ?? {}).filter(([, share]) => share >= 90).map(([lib]) => cleanName(lib, 80));
  const where = stripped.length ? ` No names were found for ${stripped.slice(0, 3).join(", ")}: the binary is probably stripped.` : "";
  return [{
    tone: quality.unresolved_percent > 40 ? "bad" : "warn",
    title: `${Math.round(quality.unresolved_percent)}% of the samples have no function name`,
    text: `They appear in the graph as addresses, in grey.${where}`,
  }];
}
