// A link to one stored file that needs no token and expires: for Firefox Profiler, curl, or someone without access.
import { useState } from "preact/hooks";
import { type Problem, profilePath, send } from "../core/api";
import { config } from "../core/config";
import { formatSecs, formatTime } from "../core/format";
import { asProblem } from "../core/hooks";
import type { Attempt, Link } from "../core/types";
import { Icon } from "./icons";
import { copyText, Dialog, Note, ProblemNote } from "./notes";

const HOUR = 3600;
const DAY = 24 * HOUR;
const LASTS = [HOUR / 4, HOUR, DAY, 7 * DAY];

function nameLast(secs: number): string {
  return secs % DAY ? formatSecs(secs).replace("1 h 0 min", "1 hour") : secs === DAY ? "1 day" : `${secs / DAY} days`;
}

export function LinkDialog({ attempt, onClose }: { attempt: Attempt; onClose: () => void }) {
  const shorter = LASTS.filter((each) => each <= config.linkMaxSecs);
  const lasts = shorter.length ? shorter : [config.linkMaxSecs];
  const [secs, setSecs] = useState(lasts.includes(HOUR) ? HOUR : lasts[0]);
  const [link, setLink] = useState<Link | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const make = async () => {
    setProblem(null);
    setBusy(true);
    try {
      setLink(await (await send("POST", `${profilePath(attempt.pipeline_name, attempt.id)}/links?expires_secs=${secs}`)).json());
    } catch (error) {
      setProblem(asProblem(error));
    }
    setBusy(false);
  };
  const choose = (each: number) => {
    setSecs(each);
    setLink(null);
  };
  return (
    <Dialog title="Expiring link" onClose={onClose}>
      <div>
        <div>
          <h2>Expiring link</h2>
          <p class="soft"><span class="name">{attempt.pipeline_name}</span>, ordinal {attempt.ordinal}, {formatTime(attempt.finished_at)}. Anyone who has the link can read this profile without signing in, until it expires.</p>
        </div>
        {!config.links && <Note tone="info" title="Links are disabled">Name a Secret in <code>config.api.links.secretName</code>. Without links, save the profile and drop it onto the page of Firefox Profiler.</Note>}
        {config.links && (
          <div class="field">
            Expires after
            <div class="segments" role="group" aria-label="Expires after">{lasts.map((each) => <button key={each} type="button" aria-pressed={secs === each} onClick={() => choose(each)}>{nameLast(each)}</button>)}</div>
          </div>
        )}
        {problem && <ProblemNote problem={problem} />}
        {link && (
          <div class="field" role="status">
            Expires on {formatTime(link.expires_at)}
            <div class="command"><code>{link.url}</code><button type="button" class="button quiet small icon" aria-label="Copy the link" title="Copy" onClick={() => copyText(link.url, "The link")}><Icon name="copy" /></button></div>
          </div>
        )}
        {link && !link.firefox_profiler && <Note tone="warn" title="Firefox Profiler cannot use this link">Firefox Profiler is served over HTTPS, but this service is reached over plain HTTP from another machine. Publish it over HTTPS, or use a port-forward.</Note>}
        <footer>
          <button type="button" class="button quiet" onClick={onClose}>Close</button>
          {!link && <button type="button" class="button primary" disabled={!config.links || isBusy} onClick={make}>{isBusy ? <span class="spinner" /> : <Icon name="link" />} Make a link</button>}
          {link?.firefox_profiler && <a class="button" href={link.firefox_profiler} target="_blank" rel="noopener noreferrer">Open in Firefox Profiler <Icon name="external" /></a>}
          {link && <button type="button" class="button primary" onClick={() => copyText(link.url, "The link")}><Icon name="copy" /> Copy link</button>}
        </footer>
      </div>
    </Dialog>
  );
}
