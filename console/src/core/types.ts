// The answers of the API, as its OpenAPI document describes them.

export type Status = "Running" | "Stopped" | "Gone" | "Unknown";

export interface Reference {
  id: string;
  finished_at: string;
  href: string;
  verdict: string | null;
  coverage: number | null;
}

export interface Ordinal {
  ordinal: number;
  pod: string | null;
  node: string | null;
  status: Status;
  in_progress: string | null;
  last_profile: Reference | null;
}

export interface Pipeline {
  name: string;
  namespace: string;
  status: Status;
  ordinals: Ordinal[];
}

export interface Quality {
  samples: number | null;
  threads: number | null;
  coverage: number | null;
  cpu_secs: number | null;
  lost_events: number | null;
  unresolved_percent: number | null;
  unresolved_by_library: Record<string, number> | null;
  throttled_secs: number | null;
  verdict: string | null;
}

export interface Failure {
  reason: string;
  message: string;
  remedy: string;
  log: string;
}

export interface Attempt {
  id: string;
  namespace: string;
  name: string;
  pipeline_name: string;
  ordinal: number;
  state: "Succeeded" | "Failed";
  requested_at: string;
  started_at: string | null;
  finished_at: string;
  duration_secs: number;
  rate_hz: number;
  requested_by: string | null;
  trigger?: { name: string; cause: string; link: string };
  /** Null: the operator, which knows it, is away. */
  pinned: boolean | null;
  target: { pod: string | null; container: string | null; node: string | null; mode: string | null; samply_version: string | null };
  quality: Quality;
  warnings: string[];
  href: string;
  file?: { size_bytes: number; raw_bytes: number; sha256: string; href: string };
  failure?: Failure;
  attachments?: Attachment[];
}

/** With a file, or with a problem. */
export interface Attachment {
  kind: string;
  name?: string;
  file?: { size_bytes: number };
  problem: string;
}

export interface Recording {
  id: string;
  namespace: string;
  name: string;
  pipeline_name: string;
  ordinal: number;
  state: "Pending" | "Recording" | "Collecting" | "Succeeded" | "Failed" | "Cancelled";
  requested_at: string;
  ends_at: string | null;
  duration_secs: number;
  preflight_only: boolean;
  queue_position?: number | null;
  href: string;
}

export type Entry = Attempt | Recording;

export function hasEnded(entry: Entry): entry is Attempt {
  return "finished_at" in entry;
}

export interface Preflight {
  verdict: "Go" | "GoWithWarning" | "Refuse";
  ordinal: number;
  pod: string | null;
  container: string | null;
  mode: string | null;
  facts: Record<string, string>;
  findings: { reason: string; message: string; remedy: string; severity?: string }[];
  failure: Failure | null;
}

export interface Started {
  started: { ordinal: number; profile: string; state: string }[];
  refused: { ordinal: number; message: string; error_code: string }[];
}

export interface Link {
  expires_at: string;
  url: string;
  firefox_profiler: string | null;
}

export interface FrameTree {
  view: string;
  by: string;
  measure: string;
  products: string[];
  sums: number[];
  has_cpu: boolean;
  path_found: number;
  groups: string[];
  group_keys: string[];
  functions: {
    total: number;
    libs: string[];
    files: string[];
    name: string[];
    lib: number[];
    file: number[];
    key: string[];
    selves: number[][];
    totals: number[][];
  };
  nodes: { total: number; parent: number[]; function: number[]; cut: number[]; selves: number[][]; totals: number[][] };
}

export interface Lane {
  index: number;
  name: string;
  tid: string;
  pid: string;
  process_name: string;
  is_main: boolean;
  samples: number;
  cpu_ms: number | null;
  busy: number[];
}

export interface Timeline {
  product: string;
  started_at_ms: number;
  span_ms: number;
  bucket_ms: number;
  threads_total: number;
  lanes: Lane[];
}
