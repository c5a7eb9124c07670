// The ways in that end with a token: from the command line, from an identity provider, or from a proxy that adds its own.
import { apiBase, config, consoleBase } from "./config";
import { go, href } from "./router";
import { setToken } from "./session";

const RETURN = "samply-console-return";
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

/** `kubectl samply console` hands the token over behind the `#`, which no server sees; taken on this machine alone. */
export function takeHandedToken(): void {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (LOOPBACK.includes(location.hostname)) setToken(token);
}

export function goToProvider(): void {
  sessionStorage.setItem(RETURN, location.pathname + location.search);
  location.assign(`${consoleBase}auth/login`);
}

export function isCallback(): boolean {
  return location.pathname === `${consoleBase}auth/callback`;
}

/** With what the provider sent the browser back with. Throws what to tell. */
export async function finishSignIn(): Promise<void> {
  const params = new URLSearchParams(location.search);
  const said = params.get("error_description") ?? params.get("error");
  const back = sessionStorage.getItem(RETURN) ?? href([]);
  sessionStorage.removeItem(RETURN);
  // The code is worth nothing a second time: it does not stay in the address.
  go(back.startsWith(consoleBase) ? back : href([]), "replace");
  if (said) throw new Error(`The identity provider says: ${said}`);
  const body = JSON.stringify({ code: params.get("code") ?? "", state: params.get("state") ?? "" });
  const answer = await fetch(`${consoleBase}auth/token`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.message);
  setToken(found.token);
}

/** Whether a proxy before the service shows a token for us. */
export async function isLetInByProxy(): Promise<boolean> {
  try {
    return (await fetch(`${apiBase}/v0/pipelines`, { method: "HEAD" })).ok;
  } catch {
    return false;
  }
}

export const hasProvider = Boolean(config.provider);
