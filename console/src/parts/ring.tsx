// A recording as a ring: the time that is left, then that it is collected.
import { useNow } from "../core/hooks";
import type { Recording } from "../core/types";

const RADIUS = 46;
const AROUND = 2 * Math.PI * RADIUS;

export function secsLeft(recording: Recording, now: number): number | null {
  return recording.ends_at ? Math.max(0, (new Date(recording.ends_at).getTime() - now) / 1000) : null;
}

export function Ring({ recording }: { recording: Recording }) {
  const now = useNow(200);
  const left = secsLeft(recording, now);
  const isRecording = recording.state === "Recording" && left !== null && left > 0;
  const share = isRecording ? left / Math.max(1, recording.duration_secs) : 0.28;
  const isWaiting = recording.state === "Pending";
  return (
    <div class={`ring ${isWaiting ? "waiting" : ""} ${isRecording ? "" : "busy"}`}>
      <svg viewBox="0 0 104 104" aria-hidden="true">
        <circle class="track" cx="52" cy="52" r={RADIUS} />
        <circle class="fill" cx="52" cy="52" r={RADIUS} stroke-dasharray={AROUND} stroke-dashoffset={AROUND * (1 - Math.min(1, share))} />
      </svg>
      <div role="timer" aria-live="off">
        {isRecording ? <><strong>{Math.ceil(left)}</strong><small>seconds left</small></> : <strong class="word">{nameState(recording, left)}</strong>}
        {!isRecording && recording.queue_position ? <small>position {recording.queue_position} in the queue</small> : null}
      </div>
    </div>
  );
}

function nameState(recording: Recording, left: number | null): string {
  if (recording.state === "Pending") return "Waiting";
  if (recording.state === "Recording" && left === null) return "Starting";
  return "Collecting";
}

export function MiniRing({ recording }: { recording: Recording }) {
  const left = secsLeft(recording, useNow(500));
  const share = left === null ? 0.25 : left / Math.max(1, recording.duration_secs);
  return (
    <svg class="mini-ring" viewBox="0 0 24 24" aria-hidden="true">
      <circle class="track" cx="12" cy="12" r="9" />
      <circle class="fill" cx="12" cy="12" r="9" stroke-dasharray={56.5} stroke-dashoffset={56.5 * (1 - Math.min(1, share))} />
    </svg>
  );
}

const STEPS: [string, Recording["state"][]][] = [["Queue", ["Pending"]], ["Record", ["Recording"]], ["Collect", ["Collecting"]], ["Open", ["Succeeded"]]];

/** Where it is: what was due to end is being collected, whether or not the operator has said so yet. */
export function phaseOf(recording: Recording, now: number): Recording["state"] {
  return recording.state === "Recording" && secsLeft(recording, now) === 0 ? "Collecting" : recording.state;
}

export function Steps({ recording }: { recording: Recording }) {
  const phase = phaseOf(recording, useNow(500));
  const at = STEPS.findIndex(([, states]) => states.includes(phase));
  return (
    <ol class="steps" aria-label="Progress">
      {STEPS.map(([name], step) => (
        <li key={name} class={step < at ? "done" : step === at ? "now" : ""} aria-current={step === at ? "step" : undefined}>{name}</li>
      ))}
    </ol>
  );
}
