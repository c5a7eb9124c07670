// The attempts of one pipeline: good ones, failed ones, and those that run.
import { useState } from "preact/hooks";
import { cleanName, formatAge, formatBytes, formatExact, formatPercent, formatSecs, formatTime } from "../core/format";
import { useNow } from "../core/hooks";
import { href } from "../core/router";
import { type Attempt, type Entry, hasEnded, type Recording } from "../core/types";
import { Icon } from "./icons";
import { LinkDialog } from "./link";
import { Confirm } from "./notes";
import { Coverage, Verdict } from "./quality";
import { pinProfile, removeProfile } from "./record";
import { MiniRing, secsLeft } from "./ring";

interface Props {
  entries: Entry[];
  chosen: string[];
  onChoose: (id: string) => void;
  onChange: () => void;
}

export function History({ entries, chosen, onChoose, onChange }: Props) {
  const [removing, setRemoving] = useState<Attempt | null>(null);
  const [linking, setLinking] = useState<Attempt | null>(null);
  return (
    <div class="history">
      <table class="table cards">
        <thead>
          <tr>
            <th><span class="hidden">Compare</span></th>
            <th>When</th><th>Ordinal</th><th>Result</th><th>Coverage</th><th class="end">Lost</th><th class="end">Nameless</th><th class="end">Length</th><th class="end">Size</th><th>Who</th><th>How</th>
            <th><span class="hidden">Actions</span></th>
          </tr>
        </thead>
        <tbody>
          {entries.map((each) =>
            hasEnded(each) ? (
              <AttemptRow key={each.id} attempt={each} isChosen={chosen.includes(each.id)} onChoose={onChoose} onRemove={setRemoving} onLink={setLinking} onChange={onChange} />
            ) : (
              <RunningRow key={each.id} recording={each} />
            ),
          )}
        </tbody>
      </table>
      {linking && <LinkDialog attempt={linking} onClose={() => setLinking(null)} />}
      {removing && (
        <Confirm
          title="Delete this profile?"
          text={`${removing.pipeline_name}, ordinal ${removing.ordinal}, ${formatTime(removing.finished_at)}. This deletes its object and its file and cannot be undone.`}
          action="Delete"
          onClose={() => setRemoving(null)}
          onYes={async () => (await removeProfile(removing.pipeline_name, removing.id, false)) && onChange()}
        />
      )}
    </div>
  );
}

interface RowProps {
  attempt: Attempt;
  isChosen: boolean;
  onChoose: (id: string) => void;
  onRemove: (attempt: Attempt) => void;
  onLink: (attempt: Attempt) => void;
  onChange: () => void;
}

/** Kept by retention until it is unpinned; a pin that is set is seen at once. */
export function PinButton({ attempt, onChange }: { attempt: Attempt; onChange: () => void }) {
  const label = attempt.pinned ? "Unpin: retention may delete it" : "Pin: retention keeps it";
  return (
    <button type="button" class="button quiet small icon pin" aria-pressed={attempt.pinned ?? false} disabled={attempt.pinned === null} title={label} aria-label={`Pin the profile of ${formatTime(attempt.finished_at)}`}
      onClick={async () => { await pinProfile(attempt.pipeline_name, attempt.id, !attempt.pinned); onChange(); }}><Icon name="pin" /></button>
  );
}

function AttemptRow({ attempt, isChosen, onChoose, onRemove, onLink, onChange }: RowProps) {
  const now = useNow(30_000);
  const { quality, file, failure } = attempt;
  const when = `${formatAge(attempt.finished_at, now)}`;
  return (
    <tr class={attempt.state === "Failed" ? "failed" : ""}>
      <td>{file && <input type="checkbox" checked={isChosen} onChange={() => onChoose(attempt.id)} aria-label={`Choose the profile of ${formatTime(attempt.finished_at)} to compare`} />}</td>
      <td>
        <a href={href(["profiles", attempt.pipeline_name, attempt.id])} title={formatExact(attempt.finished_at)}><strong><u>{when}</u></strong></a>
        <div class="faint nowrap">{formatTime(attempt.finished_at)}</div>
      </td>
      <td data-label="Ordinal" class="num">{attempt.ordinal}</td>
      <td data-label="Result">
        <span><Verdict quality={quality} failed={attempt.state === "Failed"} />{failure && <span class="name soft"> {cleanName(failure.reason, 80)}</span>}</span>
      </td>
      <td data-label="Coverage">{file ? <Coverage value={quality.coverage} /> : ""}</td>
      <td data-label="Lost" class="end num">{quality.lost_events ?? ""}</td>
      <td data-label="Nameless" class="end num">{quality.unresolved_percent === null ? "" : formatPercent(quality.unresolved_percent)}</td>
      <td data-label="Length" class="end num">{formatSecs(attempt.duration_secs)}</td>
      <td data-label="Size" class="end num">{file ? formatBytes(file.size_bytes) : ""}</td>
      <td data-label="Who"><Who attempt={attempt} /></td>
      <td data-label="How">{attempt.target.mode ?? ""}</td>
      <td>
        <div class="actions">
          {file && <button type="button" class="button quiet small icon" aria-label={`Expiring link to the profile of ${formatTime(attempt.finished_at)}`} title="Expiring link" onClick={() => onLink(attempt)}><Icon name="link" /></button>}
          <PinButton attempt={attempt} onChange={onChange} />
          <button type="button" class="button quiet small icon" aria-label={`Delete the profile of ${formatTime(attempt.finished_at)}`} title="Delete" onClick={() => onRemove(attempt)}><Icon name="trash" /></button>
        </div>
      </td>
    </tr>
  );
}

function RunningRow({ recording }: { recording: Recording }) {
  const left = secsLeft(recording, useNow(1000));
  return (
    <tr>
      <td />
      <td>
        <a href={href(["profiles", recording.pipeline_name, recording.id])}><strong><u>Now</u></strong></a>
      </td>
      <td data-label="Ordinal" class="num">{recording.ordinal}</td>
      <td data-label="Result" colSpan={9}>
        <span class="row"><MiniRing recording={recording} /><span class="badge live">{recording.state === "Pending" ? "Queued" : recording.state}</span>{left ? <span class="faint num">{formatSecs(Math.ceil(left))} left</span> : null}{recording.queue_position ? <span class="faint">position {recording.queue_position} in the queue</span> : null}{recording.preflight_only && <span class="badge">Check only</span>}</span>
      </td>
    </tr>
  );
}

export function Who({ attempt }: { attempt: Attempt }) {
  const { trigger, requested_by: requester } = attempt;
  if (!trigger) return <span class="name" title={cleanName(requester ?? "")}>{requester && cleanName(shortenWho(requester), 80)}</span>;
  return <span class="name" title={cleanName(trigger.cause)}>{cleanName(trigger.name, 80)} <span class="faint">trigger</span></span>;
}

/** `Kubernetes/system:serviceaccount:ns:name` is long; its last part says who. */
export function shortenWho(who: string | null): string {
  if (!who) return "";
  const subject = who.replace(/^(Kubernetes|Oidc|ApiKey|Feldera|Proxy)\//, "");
  const account = /^system:serviceaccount:[^:]+:(.+)$/.exec(subject);
  return account ? account[1] : subject;
}
