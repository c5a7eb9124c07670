// The address holds the whole state: a link shows what its sender sees.
import { useEffect, useState } from "preact/hooks";
import { consoleBase } from "./config";

export interface Place {
  parts: string[];
  params: URLSearchParams;
}

const listeners = new Set<() => void>();

export function readPlace(): Place {
  const path = location.pathname.startsWith(consoleBase) ? location.pathname.slice(consoleBase.length) : "";
  const parts = path.split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { parts, params: new URLSearchParams(location.search) };
}

export function href(parts: string[], params?: Record<string, string>): string {
  const search = params && Object.keys(params).length ? `?${new URLSearchParams(params)}` : "";
  return consoleBase + parts.map(encodeURIComponent).join("/") + search;
}

export function go(address: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  listeners.forEach((listener) => listener());
}

/** Change parts of the query; null or "" takes one away. */
export function setParams(changes: Record<string, string | null>, how: "push" | "replace" = "replace"): void {
  const params = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") params.delete(key);
    else params.set(key, value);
  }
  const search = params.toString();
  go(`${location.pathname}${search ? `?${search}` : ""}`, how);
}

export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const update = () => setPlace(readPlace());
    listeners.add(update);
    addEventListener("popstate", update);
    return () => {
      listeners.delete(update);
      removeEventListener("popstate", update);
    };
  }, []);
  return place;
}

/** Lets links within the console work without loading the page anew. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!link.pathname.startsWith(consoleBase) || link.pathname.startsWith(`${consoleBase}speedscope/`)) return;
  event.preventDefault();
  if (link.href !== location.href) {
    go(link.href);
    scrollTo(0, 0);
  }
}
