// Bundles the console into operator/samply_operator/api/console, where the api container serves it from.
// `index.html` names the files, whose own names change with what is in them; speedscope is copied as its authors built it.
import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../operator/samply_operator/api/console");
const speedscope = join(here, "node_modules/speedscope/dist/release");

await rm(out, { recursive: true, force: true });
await mkdir(join(out, "assets"), { recursive: true });
const result = await build({
  entryPoints: { main: join(here, "src/main.tsx"), report: join(here, "src/report.tsx"), sheet: join(here, "src/report.css") },
  outdir: join(out, "assets"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  loader: { ".woff2": "file" },
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  metafile: true,
  define: { "process.env.NODE_ENV": '"production"' },
});

const names = {};
for (const [path, output] of Object.entries(result.metafile.outputs)) {
  const entry = output.entryPoint && basename(output.entryPoint).split(".")[0] + (path.endsWith(".css") ? ".css" : ".js");
  if (entry) names[entry] = basename(path);
  if (output.cssBundle && entry === "main.js") names["main.css"] = basename(output.cssBundle);
}
let page = await readFile(join(here, "src/index.html"), "utf8");
for (const [entry, name] of Object.entries(names)) page = page.replaceAll(`{{${entry}}}`, `assets/${name}`);
await writeFile(join(out, "index.html"), page);
await cp(join(here, "src/icon.svg"), join(out, "assets/icon.svg"));
await cp(speedscope, join(out, "speedscope"), { recursive: true, filter: (path) => !/perf-vertx|schema\.json|release\.txt/.test(path) });
for (const [path, output] of Object.entries(result.metafile.outputs)) console.log(`${basename(path)} ${output.bytes} bytes`);
