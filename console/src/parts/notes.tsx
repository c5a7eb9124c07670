// What went wrong, what is missing, what is on its way: the same everywhere.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../core/api";
import { Icon } from "./icons";

export type Tone = "info" | "good" | "warn" | "bad";

export function Note({ tone, title, children }: { tone: Tone; title?: string; children?: ComponentChildren }) {
  return (
    <div class={`note ${tone}`} role={tone === "bad" ? "alert" : undefined}>
      <Icon name={tone === "good" ? "good" : tone} />
      <div class="grow">
        {title && <strong>{title}</strong>}
        {children && <div>{children}</div>}
      </div>
    </div>
  );
}

export function ProblemNote({ problem, retry }: { problem: Problem; retry?: () => void }) {
  const title = TITLES[problem.code] ?? (problem.isPassing ? "Temporarily unavailable" : "Request failed");
  return (
    <Note tone={problem.isPassing ? "warn" : "bad"} title={title}>
      <p class="name">{problem.message}</p>
      {retry && (
        <p>
          <button type="button" class="button small" onClick={retry}>Try again</button>
        </p>
      )}
    </Note>
  );
}

const TITLES: Record<string, string> = {
  OperatorUnavailable: "The operator is not available",
  TooManyRequests: "Too many requests",
  Unreachable: "The service does not answer",
  UnknownPipelineName: "No such pipeline",
  UnknownProfile: "No such profile",
  InsufficientPermissions: "Permission denied",
  SamplyProfilingInProgress: "A recording is already running",
};

/** `isPage`: there is nothing else on the page. */
export function Empty({ icon, title, isPage, children }: { icon: string; title: string; isPage?: boolean; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      {isPage ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

export function Skeleton({ rows, height = 40 }: { rows: number; height?: number }) {
  return (
    <div class="stack card" aria-hidden="true">
      <div class="pad stack">
        {Array.from({ length: rows }, (_, row) => (
          <div key={row} class="skeleton" style={{ height: `${height}px` }} />
        ))}
      </div>
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p class="row soft" role="status">
      <span class="spinner" /> {what}
    </p>
  );
}

type Toast = { id: number; tone: Tone; text: string };
let push: (toast: Toast) => void = () => {};
let count = 0;

export function toast(tone: Tone, text: string): void {
  push({ id: ++count, tone, text });
}

export function Toasts() {
  const [shown, setShown] = useState<Toast[]>([]);
  useEffect(() => {
    push = (toast) => {
      setShown((before) => [...before.slice(-3), toast]);
      setTimeout(() => setShown((before) => before.filter((each) => each.id !== toast.id)), toast.tone === "bad" ? 12000 : 5000);
    };
  }, []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((each) => (
        <Note key={each.id} tone={each.tone}>{each.text}</Note>
      ))}
    </div>
  );
}

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  // Not after the next frame, as for a menu.
  useLayoutEffect(() => {
    ref.current?.showModal();
  }, []);
  return (
    <dialog ref={ref} aria-label={title} onClose={onClose} onClick={(event) => event.target === ref.current && onClose()}>
      {children}
    </dialog>
  );
}

export function Confirm(props: { title: string; text: string; action: string; otherwise?: string; onYes: () => void; onClose: () => void }) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div>
        <h2>{props.title}</h2>
        <p class="soft name">{props.text}</p>
        <footer>
          <button type="button" class="button" onClick={props.onClose}>{props.otherwise ?? "Cancel"}</button>
          <button type="button" class="button danger" onClick={() => { props.onClose(); props.onYes(); }}>{props.action}</button>
        </footer>
      </div>
    </Dialog>
  );
}

export function Menu({ label, icon, children }: { label: string; icon: string; children: ComponentChildren }) {
  const [isOpen, setOpen] = useState(false);
  const ref = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  // A dialog gives the focus back to what had it when it was opened.
  const choose = () => {
    button.current?.focus();
    setOpen(false);
  };
  // Not after the next frame: Escape may come before it.
  useLayoutEffect(() => {
    if (!isOpen) return;
    const close = (event: Event) => {
      const isEscape = event instanceof KeyboardEvent && event.key === "Escape";
      if (isEscape) button.current?.focus();
      if (isEscape || (event.type === "pointerdown" && !ref.current?.contains(event.target as Node))) setOpen(false);
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, [isOpen]);
  return (
    <div class="menu" ref={ref}>
      <button ref={button} type="button" class="button" aria-expanded={isOpen} aria-haspopup="true" onClick={() => setOpen(!isOpen)}>
        <Icon name={icon} /> {label} <Icon name="down" />
      </button>
      {isOpen && <div onClickCapture={choose}>{children}</div>}
    </div>
  );
}

export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast("good", `${what} copied.`);
  } catch {
    toast("warn", `The browser did not allow copying. ${text}`);
  }
}
