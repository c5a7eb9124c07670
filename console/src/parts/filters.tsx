// Which attempts a history shows: the address holds it, the service decides by it.
import { Icon } from "./icons";

export const STATES: Record<string, string> = { "": "All", Succeeded: "Good", Failed: "Failed", Running: "Running" };

export interface Filters {
  state: string;
  ordinal: string;
  search: string;
  /** Days in the reader's zone, both included, such as 2026-01-31. */
  from: string;
  to: string;
}

export const NO_FILTERS: Filters = { state: "", ordinal: "", search: "", from: "", to: "" };

/** What an address cannot mean counts as not said. */
export function readFilters(params: URLSearchParams): Filters {
  const read = (key: string, isValid: (text: string) => boolean) => {
    const text = params.get(key) ?? "";
    return isValid(text) ? text : "";
  };
  const isDay = (text: string) => startOf(text) !== "";
  return {
    state: read("state", (text) => Object.hasOwn(STATES, text)),
    ordinal: read("ordinal", (text) => /^\d{1,9}$/.test(text)),
    search: (params.get("q") ?? "").slice(0, 200),
    from: read("from", isDay),
    to: read("to", isDay),
  };
}

/** As the API asks for it: without an end that is before the beginning, as while a year is being typed. */
export function buildQuery({ state, ordinal, search, from, to }: Filters): Record<string, string> {
  // eslint-disable-next-line no-control-regex
  return { state, ordinal, search: search.replace(/[\u0000-\u001f]/g, " ").trim(), since: startOf(from), until: to >= from ? startOf(to, 1) : "" };
}

/** When a day begins here, or one so many days after it. */
function startOf(day: string, later = 0): string {
  const [, year, month, date] = (/^(\d{4})-(\d\d)-(\d\d)$/.exec(day) ?? []).map(Number);
  if (!year || month < 1 || month > 12 || date < 1 || date > 31) return "";
  return new Date(year, month - 1, date + later).toISOString();
}

interface Props {
  filters: Filters;
  ordinals: number[];
  change: (changes: Partial<Filters>) => void;
}

export function FilterBar({ filters, ordinals, change }: Props) {
  const listed = filters.ordinal && !ordinals.includes(Number(filters.ordinal)) ? [...ordinals, Number(filters.ordinal)] : ordinals;
  const isAny = Object.values(filters).some(Boolean);
  return (
    <div class="filters" role="search" aria-label="History">
      <div class="segments" role="group" aria-label="Which attempts">
        {Object.entries(STATES).map(([key, label]) => <button key={key} type="button" aria-pressed={filters.state === key} onClick={() => change({ state: key })}>{label}</button>)}
      </div>
      {listed.length > 1 && (
        <select class="input auto" aria-label="Ordinal" value={filters.ordinal} onChange={(event) => change({ ordinal: event.currentTarget.value })}>
          <option value="">All ordinals</option>
          {listed.map((each) => <option key={each} value={each}>Ordinal {each}</option>)}
        </select>
      )}
      <div class="search">
        <Icon name="search" />
        <input class="input" type="search" maxLength={200} aria-label="Search the history" placeholder="Who, mode, node, reason" value={filters.search} onInput={(event) => change({ search: event.currentTarget.value })} />
      </div>
      <label class="pick"><span>From</span> <input class="input" type="date" value={filters.from} onChange={(event) => change({ from: event.currentTarget.value })} /></label>
      <label class="pick"><span>to</span> <input class="input" type="date" value={filters.to} onChange={(event) => change({ to: event.currentTarget.value })} /></label>
      {isAny && <button type="button" class="button quiet small" onClick={() => change(NO_FILTERS)}><Icon name="close" /> Clear</button>}
    </div>
  );
}
