// A report is one HTML file: the viewer's script and style, and the trees as data. It loads nothing.
import { consoleBase, readMeta } from "./core/config";
import type { Attempt, FrameTree, Timeline } from "./core/types";
import type { Source, TreeQuery, ViewerState } from "./viewer/viewer";

export interface Report {
  attempts: Attempt[];
  made_at: string;
  state: ViewerState;
  trees: Record<string, FrameTree>;
  timeline: Timeline | null;
}

export async function buildReport(attempts: Attempt[], source: Source, state: ViewerState): Promise<string> {
  const signal = new AbortController().signal;
  const base: TreeQuery = { view: "top-down", by: "none", measure: state.measure, threads: state.threads, range: state.range, path: [], function: "" };
  const trees = {
    "top-down": await source.loadTree(base, signal),
    "bottom-up": await source.loadTree({ ...base, view: "bottom-up" }, signal),
  };
  const timeline = source.loadTimeline ? await source.loadTimeline(signal) : null;
  const report: Report = { attempts, made_at: new Date().toISOString(), state: { ...state, by: "none", zoom: [] }, trees, timeline };
  const [script, style] = await Promise.all([readAsset("report-script"), readAsset("report-style")]);
  // No text of a profile may end the element that it stands in.
  const data = JSON.stringify(report).replace(/</g, "\\u003c");
  const title = attempts.map((each) => `${each.pipeline_name} ${each.ordinal}`).join(" and ");
  const policy = await buildPolicy(script, style);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeText(title)}</title><style>${style}</style></head>
<body><div id="app"></div><script type="application/json" id="report">${data}</script><script>${script}</script></body></html>
`;
}

async function readAsset(name: string): Promise<string> {
  return (await (await fetch(consoleBase + readMeta(name))).text()).trim();
}

/** By hash where the browser can make one: it does so only on pages of https and of its own machine. */
async function buildPolicy(script: string, style: string): Promise<string> {
  const allow = async (text: string) => {
    if (!crypto.subtle) return "'unsafe-inline'";
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return `'sha256-${btoa(String.fromCharCode(...digest))}'`;
  };
  return `default-src 'none'; script-src ${await allow(script)}; style-src ${await allow(style)}; img-src data:; base-uri 'none'; form-action 'none'`;
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
