// What the page was told when it was sent: how one signs in, and what an installation takes as given.

export interface Config {
  version: string;
  open: boolean;
  audience: string | null;
  apiKeys: boolean;
  /** The identity provider's host, where one signs in there. */
  provider: string | null;
  links: boolean;
  linkMaxSecs: number;
  enabled: boolean;
  durationSecs: number;
  maxDurationSecs: number;
  rateHz: number;
  maxRateHz: number;
  mode: string;
  modes: string[];
  minCoverage: number;
}

export function readMeta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}

export const config = JSON.parse(readMeta("console-config") || "{}") as Config;

/** Where the page begins, such as `/profiles/console/`. */
export const consoleBase = new URL(document.baseURI).pathname;
/** Where the API begins, such as `/profiles`. */
export const apiBase = consoleBase.replace(/\/console\/$/, "");
