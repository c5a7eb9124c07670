import { useEffect, useRef, useState } from "preact/hooks";
import { get, type Problem } from "../core/api";
import { config } from "../core/config";
import { asProblem, useTitle } from "../core/hooks";
import { goToProvider, hasProvider } from "../core/signing-in";
import { endSession, setToken, whyEnded } from "../core/session";
import { Icon, Logo } from "../parts/icons";
import { copyText, Note, ProblemNote } from "../parts/notes";

export function SignInPage({ said }: { said: string }) {
  useTitle("Sign in");
  const [text, setText] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (!hasProvider) input.current?.focus();
  }, []);
  const ended = whyEnded();

  async function signIn(event: Event) {
    event.preventDefault();
    const token = text.trim().replace(/^Bearer\s+/i, "");
    if (!token) return;
    setBusy(true);
    setProblem(null);
    try {
      await tryToken(token);
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  }

  return (
    <main class="signin">
      <div>
        <h1 class="brand"><Logo /><span>samply-operator</span></h1>
        <div class="card">
          <div>
            <h2>Sign in</h2>
            <p class="soft">Your token determines what you can see and do.</p>
          </div>
          {ended === "expired" && !problem && <Note tone="warn" title="Your session has expired">The token is no longer valid. Sign in again to continue on this page.</Note>}
          {said && !problem && <Note tone="bad" title="Sign-in failed"><span class="name">{said}</span></Note>}
          {problem && <ProblemNote problem={problem} />}
          {hasProvider && (
            <>
              <button type="button" class="button primary" onClick={goToProvider}>Sign in at {config.provider}</button>
              <div class="or">or with a token</div>
            </>
          )}
          <form class="stack" onSubmit={signIn}>
            <label class="field">
              Token
              <textarea ref={input} class="input mono" rows={hasProvider ? 2 : 4} spellcheck={false} autocomplete="off" value={text} onInput={(event) => setText(event.currentTarget.value)} placeholder={config.apiKeys && !config.audience ? "samply_…" : "eyJhbGciOi…"} />
              <small>The token is stored in this tab only and deleted when you close it.</small>
            </label>
            <button class={`button ${hasProvider ? "" : "primary"}`} disabled={isBusy || !text.trim()}>{isBusy ? <span class="spinner" /> : null} Sign in</button>
          </form>
          {config.audience && <Hint audience={config.audience} />}
        </div>
      </div>
    </main>
  );
}

function Hint({ audience }: { audience: string }) {
  const command = `kubectl create token SERVICEACCOUNT --audience ${audience}`;
  return (
    <div class="stack">
      <p class="hint">Create a token in the cluster:</p>
      <div class="command">
        <code>kubectl create token SERVICEACCOUNT <span class="nobr">--audience</span> {audience}</code>
        <button type="button" class="button quiet small icon" aria-label="Copy the command" onClick={() => copyText(command, "The command")}><Icon name="copy" /></button>
      </div>
    </div>
  );
}

/** Keeps the token if the service takes it. */
async function tryToken(token: string): Promise<void> {
  sessionStorage.setItem("samply-console-token", token);
  try {
    await get("/v0/pipelines");
  } catch (error) {
    const problem = asProblem(error);
    if (!problem.isPassing || problem.status === 0) {
      endSession("");
      throw error;
    }
  }
  setToken(token);
}
