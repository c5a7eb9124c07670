// Which threads count. In an address they are ranges, `0-3,5`: most of a thousand threads is a short text, too.

/** Ranges of indices, both ends included; ascending, with a gap between each and the next. */
export type Threads = [first: number, last: number][];

const RANGE = /^(\d{1,6})(?:-(\d{1,6}))?$/;

/** Null: nothing is chosen, which means all. */
export function parseThreads(text: string): Threads | null {
  const found: Threads = [];
  for (const part of text.split(",")) {
    const match = RANGE.exec(part);
    if (match) found.push([Number(match[1]), Number(match[2] ?? match[1])]);
  }
  found.sort((a, b) => a[0] - b[0]);
  const joined: Threads = [];
  for (const [first, last] of found) {
    const before = joined[joined.length - 1];
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else if (first <= last) joined.push([first, last]);
  }
  return joined.length ? joined : null;
}

export function formatThreads(threads: Threads): string {
  return threads.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

export function hasThread(threads: Threads | null, index: number): boolean {
  return threads === null || threads.some(([first, last]) => first <= index && index <= last);
}

/** How many of the `total` threads of a profile. */
export function countThreads(threads: Threads, total: number): number {
  return threads.reduce((sum, [first, last]) => sum + Math.max(0, Math.min(last + 1, total) - first), 0);
}

/** With one thread more or less. All and none are both null: a graph of nothing helps nobody. */
export function toggleThread(threads: Threads | null, index: number, total: number): Threads | null {
  const next: number[] = [];
  for (let at = 0; at < total; at += 1) if (hasThread(threads, at) !== (at === index)) next.push(at);
  return next.length === total ? null : parseThreads(next.join(","));
}
