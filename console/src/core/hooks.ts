import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Problem } from "./api";

export interface Loaded<T> {
  data: T | null;
  problem: Problem | null;
  isLoading: boolean;
  /** The data are of the key before. */
  isOld: boolean;
  reload: () => void;
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "Defect", String((error as Error)?.message ?? error), {}, null);
}

/** Loads when `key` changes. What was loaded before stays until the next is there. */
export function useLoaded<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; key: string | null; problem: Problem | null; isLoading: boolean }>({
    data: null,
    key,
    problem: null,
    isLoading: key !== null,
  });
  const [round, setRound] = useState(0);
  // A layout effect asks before the browser paints, not after it.
  useLayoutEffect(() => {
    if (key === null) return;
    const controller = new AbortController();
    setState((before) => ({ ...before, isLoading: true }));
    load(controller.signal).then(
      (data) => !controller.signal.aborted && setState({ data, key, problem: null, isLoading: false }),
      (error) =>
        !controller.signal.aborted && setState((before) => ({ ...before, problem: asProblem(error), isLoading: false })),
    );
    return () => controller.abort();
  }, [key, round]);
  return { ...state, isOld: state.key !== key, reload: useCallback(() => setRound((value) => value + 1), []) };
}

/** How long to wait before asking again by itself; null: that would change nothing. */
export function waitAfter(problem: Problem | null): number | null {
  return problem?.isPassing ? (problem.retryAfterSecs ?? 5) : null;
}

/** Loads again every `secs` (null: never), never while the tab is hidden; after a passing problem it waits as long as it was told. */
export function usePolled<T>(key: string, secs: number | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const loaded = useLoaded(key, load);
  const wait = waitAfter(loaded.problem) ?? secs;
  useEffect(() => {
    if (wait === null || loaded.isLoading || (loaded.problem && !loaded.problem.isPassing)) return;
    const timer = setTimeout(function tick() {
      if (document.hidden) addEventListener("visibilitychange", loaded.reload, { once: true });
      else loaded.reload();
    }, wait * 1000);
    return () => {
      clearTimeout(timer);
      removeEventListener("visibilitychange", loaded.reload);
    };
  }, [wait, loaded.isLoading, loaded.data, loaded.problem]);
  return loaded;
}

/** A value that has not changed for a while: what someone types is asked for once. */
export function useSettled<T>(value: T, waitMs: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), waitMs);
    return () => clearTimeout(timer);
  }, [value, waitMs]);
  return settled;
}

/** The time, every so often. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function useKey(handler: (event: KeyboardEvent) => void): void {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement | null;
      const isTyping = target?.matches?.("input, textarea, select, [contenteditable]") ?? false;
      if (isTyping && event.key !== "Escape") return;
      if (target?.closest?.("dialog, .menu")) return;
      if (event.metaKey || event.ctrlKey || event.altKey) return;
      latest.current(event);
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · samply-operator` : "samply-operator";
  }, [title]);
}
