// A hue says which library; grey has no name; the same function has the same shade in every graph.
import type { Matches, Model } from "./model";

const HUES = [24, 208, 150, 268, 340, 52, 188, 96];
const NAMELESS = /^(0x[0-9a-f]+|fun_[0-9a-f]+|EntryPoint)$/i;
const FULL_CHANGE = 0.05;
const PALE = 0.32;

export function isDark(): boolean {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function isNameless(name: string): boolean {
  return NAMELESS.test(name);
}

/** The libraries with a colour of their own: those in which most is spent. */
export function rankLibs(model: Model): string[] {
  const { functions } = model.answer;
  const spent = new Array<number>(functions.libs.length).fill(0);
  functions.lib.forEach((lib, row) => (spent[lib] += functions.selves[0][row]));
  return functions.libs.map((lib, place) => ({ lib, value: spent[place] })).filter((each) => each.value > 0).sort((a, b) => b.value - a.value || (a.lib < b.lib ? -1 : 1)).slice(0, HUES.length).map((each) => each.lib);
}

export function colourOfLib(place: number, dark: boolean, shade = 0): string {
  if (place < 0) return dark ? `hsl(210 8% ${34 + (shade % 5)}%)` : `hsl(200 12% ${80 + (shade % 5)}%)`;
  const hue = HUES[place] - 7 + (shade % 15);
  return dark ? `hsl(${hue} ${42 + (shade % 12)}% ${36 + ((shade >> 4) % 9)}%)` : `hsl(${hue} ${72 + (shade % 16)}% ${70 + ((shade >> 4) % 11)}%)`;
}

export function colourNameless(dark: boolean): string {
  return dark ? "hsl(30 5% 31%)" : "hsl(38 14% 82%)";
}

export function colourChange(change: number, dark: boolean): string {
  const strength = Math.min(1, Math.abs(change) / FULL_CHANGE);
  const from = dark ? [58, 66, 77] : [228, 232, 236];
  const to = change > 0 ? (dark ? [214, 78, 66] : [217, 66, 54]) : dark ? [72, 134, 232] : [58, 118, 214];
  const mixed = from.map((each, place) => Math.round(each + (to[place] - each) * Math.sqrt(strength) * 0.9));
  return `rgb(${mixed.join(" ")})`;
}

function hash(text: string): number {
  let value = 2166136261;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 16777619);
  return value >>> 0;
}

export function colourBehind(dark: boolean): string {
  return dark ? "#151a21" : "#ffffff";
}

const packed = new Map<string, number>();
let probe: CanvasRenderingContext2D | null = null;

/** A colour as a pixel of an ImageData. */
export function pack(colour: string): number {
  let found = packed.get(colour);
  if (found === undefined) {
    probe ??= document.createElement("canvas").getContext("2d")!;
    probe.fillStyle = colour;
    const rgb = Number.parseInt((probe.fillStyle as string).slice(1), 16);
    found = (0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
    packed.set(colour, found);
  }
  return found;
}

/** The colour of each node, as a pixel. */
export function paint(model: Model, dark: boolean): Uint32Array {
  const { functions } = model.answer;
  if (model.isDiff) return Uint32Array.from({ length: model.size }, (_, node) => pack(colourChange(model.change(node), dark)));
  const ranked = rankLibs(model);
  const places = functions.libs.map((lib) => ranked.indexOf(lib));
  const byFunction = functions.name.map((name, row) => pack(isNameless(name) ? colourNameless(dark) : colourOfLib(places[functions.lib[row]], dark, hash(name))));
  const group = pack(dark ? "hsl(215 16% 26%)" : "hsl(214 22% 86%)");
  return Uint32Array.from(model.answer.nodes.function, (number) => (number < 0 ? group : byFunction[number]));
}

/** During a search: what was found stands out, all else is pale. */
export function highlight(model: Model, colours: Uint32Array, matches: Matches | null, dark: boolean): Uint32Array {
  if (!matches) return colours;
  const hit = pack(dark ? "#b8379f" : "#d94fc0");
  const behind = pack(colourBehind(dark));
  return colours.map((colour, node) => (matches.functions[model.answer.nodes.function[node]] ? hit : mix(behind, colour, PALE)));
}

/** Two pixels, of which the second has this share. */
export function mix(first: number, second: number, share: number): number {
  let mixed = 0xff000000;
  for (let shift = 0; shift < 24; shift += 8) {
    const from = (first >>> shift) & 255;
    mixed |= Math.round(from + (((second >>> shift) & 255) - from) * share) << shift;
  }
  return mixed >>> 0;
}
