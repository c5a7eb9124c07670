// The caller's token. It is kept for this tab alone, and goes nowhere but into the Authorization header of this service.

const KEY = "samply-console-token";
const listeners = new Set<() => void>();

export type Ended = "" | "expired" | "out";
let ended: Ended = "";

export function getToken(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setToken(token: string): void {
  sessionStorage.setItem(KEY, token);
  ended = "";
  listeners.forEach((listener) => listener());
}

export function endSession(why: Ended): void {
  if (!getToken() && ended === why) return;
  sessionStorage.removeItem(KEY);
  ended = why;
  listeners.forEach((listener) => listener());
}

/** Why the last session is over; empty: there was none. */
export function whyEnded(): Ended {
  return ended;
}

export function onSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Who the token says that it is of; unverified, for display alone. */
export function describeToken(): string {
  const token = getToken();
  if (token.startsWith("samply_")) return token.split("_")[1] ?? "API key";
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
    const account = claims["kubernetes.io"]?.serviceaccount?.name;
    return String(account ?? claims.email ?? claims.preferred_username ?? claims.sub ?? "signed in").slice(0, 60);
  } catch {
    return token ? "signed in" : "";
  }
}
