// Where a viewer's trees come from: the API, or what a report holds.
import { useLayoutEffect, useMemo } from "preact/hooks";
import { get, profilePath, query } from "../core/api";
import type { FrameTree, Timeline } from "../core/types";
import { formatThreads } from "./threads";
import { buildQuery, type Source, type TreeQuery, type ViewerState } from "./viewer";

const KEPT = 24;

export interface Ref {
  pipeline: string;
  id: string;
}

export function parseRef(text: string | null): Ref | null {
  const at = (text ?? "").lastIndexOf("/");
  return text && at > 0 ? { pipeline: text.slice(0, at), id: text.slice(at + 1) } : null;
}

/** What an address names, and its first tree, which is asked for at once: together with the facts, not after them. */
export function useSource(profile: Ref | null, before: Ref | null | undefined, state: ViewerState): Source | null {
  const source = useMemo(
    () => (profile && before !== null ? openProfile(profile, before) : null),
    [profile?.pipeline, profile?.id, before?.pipeline, before?.id],
  );
  useLayoutEffect(() => {
    if (!source) return;
    const controller = new AbortController();
    // What fails here is asked for again by the viewer, which tells the reader.
    source.loadTree(buildQuery(state), controller.signal).catch(() => {});
    return () => controller.abort();
  }, [source]);
  return source;
}

/** `before`: what it is compared with. */
function openProfile(profile: Ref, before?: Ref): Source {
  const kept = new Map<string, { tree: Promise<FrameTree>; signal: AbortSignal }>();
  const base = profilePath(profile.pipeline, profile.id);
  const loadTree = (asked: TreeQuery, signal: AbortSignal) => {
    const path = `${base}/tree${writeQuery(asked, before)}`;
    const found = kept.get(path);
    if (found && !found.signal.aborted) return found.tree;
    const loading = { tree: get<FrameTree>(path, signal), signal };
    kept.set(path, loading);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
    loading.tree.catch(() => kept.get(path) === loading && kept.delete(path));
    return loading.tree;
  };
  return {
    loadTree,
    loadTimeline: before ? undefined : (signal) => get<Timeline>(`${base}/timeline`, signal),
    views: ["flame", "inverted", "sandwich", "tree", "table"],
    bys: ["none", "thread", "operator", "group", "library"],
  };
}

function writeQuery(asked: TreeQuery, before?: Ref): string {
  return query({
    view: asked.view === "top-down" ? "" : asked.view,
    by: asked.by === "none" ? "" : asked.by,
    measure: asked.measure === "samples" ? "" : asked.measure,
    threads: asked.threads && formatThreads(asked.threads),
    from: asked.range?.from,
    to: asked.range?.to,
    path: asked.path.join("."),
    function: asked.function,
    before: before?.id,
    before_pipeline: before?.pipeline,
  });
}
