// The one door to the API. Errors keep what the service said: its code, its message with the cure, its details.
import { apiBase } from "./config";
import { endSession, getToken } from "./session";

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: Record<string, unknown>,
    readonly retryAfterSecs: number | null,
  ) {
    super(message);
  }

  /** Worth asking again by itself. 502 and 504 are of a proxy while the service restarts. */
  get isPassing(): boolean {
    return [0, 429, 502, 503, 504].includes(this.status);
  }
}

export async function send(method: string, path: string, signal?: AbortSignal): Promise<Response> {
  const token = getToken();
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  let response: Response;
  try {
    response = await fetch(`${apiBase}${path}`, { method, headers, signal, credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "Unreachable", "The service did not answer. Check the connection or the port-forward.", {}, null);
  }
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (response.status === 401) endSession(token ? "expired" : "");
  throw problem;
}

async function readProblem(response: Response): Promise<Problem> {
  const retry = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  try {
    const body = await response.json();
    return new Problem(response.status, body.error_code, body.message, body.details ?? {}, Number.isNaN(retry) ? null : retry);
  } catch {
    return new Problem(response.status, "Unexpected", `The service answered ${response.status}.`, {}, Number.isNaN(retry) ? null : retry);
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await send("GET", path, signal);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Problem(response.status, "Unexpected", "The answer is not from the service. A proxy in front of it may want you to sign in: reload the page.", {}, null);
  }
}

export function profilePath(pipeline: string, id = ""): string {
  const base = `/v0/pipelines/${encodeURIComponent(pipeline)}/samply_profiles`;
  return id ? `${base}/${encodeURIComponent(id)}` : base;
}

export function query(values: Record<string, string | number | null | undefined>): string {
  const set = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `?${new URLSearchParams(set.map(([key, value]) => [key, String(value)]))}` : "";
}
