// Numbers and times as people read them, in the reader's own zone.

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function formatCount(value: number): string {
  return Math.round(value).toLocaleString("en");
}

export function formatShare(part: number, whole: number): string {
  if (whole <= 0) return "0%";
  return formatPercent((100 * part) / whole);
}

export function formatPercent(percent: number): string {
  if (percent >= 99.95) return "100%";
  if (percent >= 10) return `${percent.toFixed(1)}%`;
  if (percent >= 0.005 || percent === 0) return `${percent.toFixed(percent === 0 ? 0 : 2)}%`;
  return "<0.01%";
}

export function formatPoints(points: number): string {
  const shown = Math.abs(points) < 0.005 ? "0" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(2)}`;
  return `${shown} pp`;
}

export function formatSecs(secs: number): string {
  if (secs < 0.001) return `${(secs * 1e6).toFixed(0)} µs`;
  if (secs < 1) return `${(secs * 1000).toFixed(secs < 0.01 ? 1 : 0)} ms`;
  if (secs < 60) return `${secs < 10 ? Number(secs.toFixed(2)) : Number(secs.toFixed(1))} s`;
  const minutes = Math.floor(secs / 60);
  if (minutes < 60) return `${minutes} min${Math.round(secs % 60) ? ` ${Math.round(secs % 60)} s` : ""}`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A value of a tree: samples, or microseconds of CPU. */
export function formatValue(value: number, measure: string): string {
  return measure === "cpu" ? `${formatSecs(value / 1e6)} CPU` : `${formatCount(value)} ${value === 1 ? "sample" : "samples"}`;
}

/** Made when it is first used: that takes the browser longer than all else before the first paint. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

const dateTime = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }));
const exact = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" }));

export function formatTime(text: string | null): string {
  return text ? dateTime().format(new Date(text)) : "–";
}

export function formatExact(text: string | null): string {
  return text ? exact().format(new Date(text)) : "";
}

export function formatAge(text: string, now = Date.now()): string {
  const secs = Math.max(0, (now - new Date(text).getTime()) / 1000);
  if (secs < 45) return "just now";
  if (secs < 3600) return `${Math.max(1, Math.round(secs / 60))} min ago`;
  if (secs < 86400) return `${Math.round(secs / 3600)} h ago`;
  const days = Math.round(secs / 86400);
  if (days < 60) return days === 1 ? "yesterday" : `${days} days ago`;
  return formatTime(text);
}

// Control characters, and what turns the direction of the text around it: a name comes from a stranger's binary.
// eslint-disable-next-line no-control-regex
const UNFIT = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

export function cleanName(name: string, limit = 400): string {
  const plain = name.replace(UNFIT, "\ufffd");
  return plain.length > limit ? `${plain.slice(0, limit - 1)}…` : plain || "(no name)";
}
