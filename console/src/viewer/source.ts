// Where a viewer's trees come from: the API, or what a report holds.
import { get, profilePath, query } from "../core/api";
import type { Attempt, FrameTree, Timeline } from "../core/types";
import type { Source, TreeQuery } from "./viewer";

const KEPT = 24;

export interface Ref {
  pipeline: string;
  id: string;
}

export function parseRef(text: string | null): Ref | null {
  const at = (text ?? "").lastIndexOf("/");
  return text && at > 0 ? { pipeline: text.slice(0, at), id: text.slice(at + 1) } : null;
}

/** `before`: what it is compared with. */
export function openProfile(attempt: Attempt, before?: Attempt): Source {
  const kept = new Map<string, Promise<FrameTree>>();
  const base = profilePath(attempt.pipeline_name, attempt.id);
  const loadTree = (asked: TreeQuery, signal: AbortSignal) => {
    const path = `${base}/tree${buildQuery(asked, before)}`;
    const found = kept.get(path);
    if (found) return found;
    const loading = get<FrameTree>(path, signal);
    kept.set(path, loading);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
    loading.catch(() => kept.delete(path));
    return loading;
  };
  return {
    loadTree,
    loadTimeline: before ? undefined : (signal) => get<Timeline>(`${base}/timeline`, signal),
    views: ["flame", "inverted", "sandwich", "tree", "table"],
    bys: ["none", "thread", "operator", "group", "library"],
    quality: before ? undefined : attempt.quality,
  };
}

function buildQuery(asked: TreeQuery, before?: Attempt): string {
  return query({
    view: asked.view === "top-down" ? "" : asked.view,
    by: asked.by === "none" ? "" : asked.by,
    measure: asked.measure === "samples" ? "" : asked.measure,
    threads: asked.threads?.join(","),
    from: asked.range?.from,
    to: asked.range?.to,
    path: asked.path.join("."),
    function: asked.function,
    before: before?.id,
    before_pipeline: before && before.pipeline_name,
  });
}
