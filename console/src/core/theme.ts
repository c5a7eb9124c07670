// Light or dark: as the system has it, or as the reader chose.
const KEY = "samply-console-theme";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export function readTheme(): Theme {
  const kept = localStorage.getItem(KEY) as Theme;
  return THEMES.includes(kept) ? kept : "auto";
}

/** Before the first paint, so that no page is first shown in the other colours. */
export function applyTheme(theme = readTheme()): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function changeTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  applyTheme(theme);
  dispatchEvent(new Event("theme"));
}
