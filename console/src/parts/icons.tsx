// Line icons, drawn for this page on a grid of 24.
const PATHS: Record<string, string> = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm9 16-4-4",
  record: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 5a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z",
  warn: "M12 4 2.8 19.5h18.4L12 4Zm0 6v4.5m0 2.6v.4",
  bad: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm3 6-6 6m0-6 6 6",
  good: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm-4 9 3 3 5-6",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 8v5m0-8.4V7.5",
  stop: "M7 7h10v10H7z",
  close: "m6 6 12 12M18 6 6 18",
  swap: "M7 4 3 8l4 4M3 8h14m0 4 4 4-4 4m4-4H7",
  download: "M12 4v11m-4.5-4L12 15.5 16.5 11M4 19.5h16",
  external: "M14 4h6v6m0-6-9 9M10 5H5v14h14v-5",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.7-5.7L12 7m2 3a4 4 0 0 0-6-.5l-3 3A4 4 0 0 0 10.700 18.200L12 17",
  report: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6m-6 4h6",
  pin: "M9 4h6l-1 6 3 3v2H7v-2l3-3-1-6Zm3 11v6",
  trash: "M5 7h14M10 7V4h4v3m-7 0 1 13h8l1-13M10.500 11v5m3-5v5",
  chevron: "m9 6 6 6-6 6",
  down: "m6 9 6 6 6-6",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Zm0-5v2m0 14v2M3 12h2m14 0h2M5.600 5.600 7 7m10 10 1.400 1.400M5.600 18.400 7 17M17 7l1.400-1.400",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z",
  auto: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 0v18",
  out: "M10 4H5v16h5m4-12 4 4-4 4m4-4H9",
  flame: "M3 19h18v-4H3zM3 13h11V9H3zM16 13h5V9h-5zM3 7h6V3H3z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  layers: "m12 3 9 5-9 5-9-5 9-5Zm-9 9.500 9 5 9-5",
  check: "m5 12 5 5 9-10",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 4v5l3.500 2",
};

export function Icon({ name, title }: { name: string; title?: string }) {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" role={title ? "img" : undefined} aria-label={title} aria-hidden={title ? undefined : "true"}>
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#c2410c" />
      <rect x="6" y="21" width="20" height="5" rx="1.5" fill="#fff" />
      <rect x="6" y="14" width="13" height="5" rx="1.5" fill="#fed7aa" />
      <rect x="21" y="14" width="5" height="5" rx="1.5" fill="#fdba74" />
      <rect x="6" y="7" width="7" height="5" rx="1.5" fill="#fdba74" />
    </svg>
  );
}
