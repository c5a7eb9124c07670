// The frame around all pages, and which page an address means.
import { useEffect, useState } from "preact/hooks";
import { config } from "./core/config";
import { followLinks, href, usePlace } from "./core/router";
import { finishSignIn, isCallback, isLetInByProxy } from "./core/signing-in";
import { describeToken, endSession, getToken, onSession } from "./core/session";
import { changeTheme, readTheme, THEMES } from "./core/theme";
import { ComparePage } from "./pages/compare";
import { PipelinePage } from "./pages/pipeline";
import { PipelinesPage } from "./pages/pipelines";
import { ProfilePage } from "./pages/profile";
import { SignInPage } from "./pages/signin";
import { Icon, Logo } from "./parts/icons";
import { Empty, Toasts } from "./parts/notes";

function useSession(): string {
  const [token, setToken] = useState(getToken);
  useEffect(() => onSession(() => setToken(getToken())), []);
  return token;
}

export function App() {
  const token = useSession();
  const place = usePlace();
  useEffect(() => {
    document.addEventListener("click", followLinks);
    return () => document.removeEventListener("click", followLinks);
  }, []);
  const entry = useEntry(token);
  if (entry.isBusy) return null;
  if (!token && !config.open && !entry.isLetIn) return <><SignInPage said={entry.said} /><Toasts /></>;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to content</a>
      <Bar where={place.parts[0] ?? ""} />
      <main id="main" tabIndex={-1}><Page parts={place.parts} key={place.parts.join("/")} /></main>
      <Toasts />
    </>
  );
}

/** Whether one needs to sign in at all, and how the way back from a provider ended. */
function useEntry(token: string) {
  const [state, setState] = useState({ isBusy: !token && !config.open, isLetIn: false, said: "" });
  useEffect(() => {
    if (!state.isBusy) return;
    const work = isCallback() ? finishSignIn().then(() => false) : isLetInByProxy();
    work.then(
      (isLetIn) => setState({ isBusy: false, isLetIn, said: "" }),
      (error: Error) => setState({ isBusy: false, isLetIn: false, said: error.message }),
    );
  }, []);
  return state;
}

function Page({ parts }: { parts: string[] }) {
  const [kind, first, second] = parts;
  if (!kind) return <PipelinesPage />;
  if (kind === "pipelines" && second) return <PipelinePage namespace={first} name={second} />;
  if (kind === "profiles" && second) return <ProfilePage pipeline={first} id={second} />;
  if (kind === "compare") return <ComparePage />;
  return (
    <Empty isPage icon="bad" title="Page not found">
      <a class="button" href={href([])}>Show all pipelines</a>
    </Empty>
  );
}

function Bar({ where }: { where: string }) {
  return (
    <header class="bar">
      <div>
        <a class="brand" href={href([])} aria-label="samply-operator: all pipelines"><Logo /><span>samply-operator</span></a>
        <nav aria-label="Pages">
          <a href={href([])} aria-current={where === "" || where === "pipelines" ? "page" : undefined}>Pipelines</a>
          <a href={href(["compare"])} aria-current={where === "compare" ? "page" : undefined}>Compare</a>
        </nav>
        <ThemeButton />
        {!config.open && getToken() && (
          <button type="button" class="button quiet small" title={`Signed in as ${describeToken()}`} onClick={() => endSession("out")}>
            <Icon name="out" /><span class="wide">Sign out</span><span class="hidden">({describeToken()})</span>
          </button>
        )}
      </div>
    </header>
  );
}

function ThemeButton() {
  const [theme, setTheme] = useState(readTheme);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const change = () => {
    changeTheme(next);
    setTheme(next);
  };
  const label = `Theme: ${theme}. Change to ${next}`;
  return (
    <button type="button" class="button quiet small icon" onClick={change} aria-label={label} title={label}>
      <Icon name={theme === "auto" ? "auto" : theme === "light" ? "sun" : "moon"} />
    </button>
  );
}
