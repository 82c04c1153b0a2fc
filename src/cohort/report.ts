import { duration, usd } from "../local/format.ts";
import { PRICES_DATE, USD_PER_CORE_HOUR } from "../orchestrator/prices.ts";
import { FLAG_RULES, flagSlides, LEAST_SLIDES } from "./flags.ts";
import { sourceName } from "./manifest-rows.ts";
import { histogramSvg } from "./report-histogram.ts";
import { SCANS } from "./scan-links.ts";
import type { RowOutcome, TableShape } from "./table.ts";
import { sumOutcomes } from "./totals.ts";

/** At most so many pictures, so that a browser opens the report at once. */
export const MAX_PICTURES = 200;
export const MAX_PICTURE_BYTES = 24 << 20;
const MAX_FAILURES = 1000;
const MAX_HISTOGRAMS = 24;

const STYLE = `
:root{color-scheme:light dark;--ink:#1d2733;--soft:#66727f;--line:#d9dee4;--bar:#3b6ea5;--bad:#a63d2f;--ground:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#98a4b0;--line:#36414c;--bar:#7aa7d6;--bad:#e58a7b;--ground:#14191f}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p{margin:.4rem 0}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
.numbers{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1rem 0}.numbers b{display:block;font-size:1.4rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:1rem}
.code{overflow-wrap:normal;white-space:nowrap}
@media(max-width:40rem){thead{position:absolute;clip-path:inset(50%)}table,tbody,tr,td{display:block}tr{border-bottom:1px solid var(--line);padding:.4rem 0}td{border:0;padding:0}td:first-child{font-weight:600}}
figure{margin:0;min-width:0}figure img{max-width:100%;display:block;background:var(--line)}figcaption{font-size:.85rem;overflow-wrap:anywhere}
a{color:inherit}.flag{color:var(--bad)}svg{max-width:100%;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--soft);font:11px system-ui,sans-serif}svg line{stroke:var(--line)}`;

/**
 * The report as one HTML page that opens without a server and loads nothing: styles, pictures and charts are inside.
 * Every text of the manifest is escaped, and the page's policy forbids scripts.
 *
 * Written by hand: a template engine or a chart library would be larger than the page. Only services depend on hono
 * and its `html`.
 * @param pictureOf small PNG of a job
 */
export function reportHtml(
  about: { title: string; model: string; at: string },
  shape: TableShape,
  outcomes: readonly RowOutcome[],
  pictureOf: (job: string) => Uint8Array | undefined,
): string {
  const flags = flagSlides(outcomes.map((o) => o.metrics)).map((own, i) => [
    ...own,
    ...(outcomes[i]!.flags ?? []),
  ]);
  const totals = sumOutcomes(outcomes);
  const number = (value: string | number, what: string) =>
    `<div><b>${escapeHtml(value)}</b>${escapeHtml(what)}</div>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(about.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(about.title)}</h1>
<p class="soft">${escapeHtml(about.model)}, ${escapeHtml(about.at)}</p>
<p class="soft">To sort, filter and open the scans in a viewer: <code>npx tilewright view</code> and the directory of this report.</p>
<div class="numbers">
${number(outcomes.length, "scans")}${number(totals.done, "done")}${number(totals.failed, "failed")}${number(totals.pending, "to do")}
${number(totals.windows, "windows")}${number(duration(totals.seconds), "of work")}${number(usd(totals.cost), "used")}${
  totals.forecast === undefined ? "" : number(usd(totals.forecast), "forecast for the same scans")
}
</div>
<p class="soft">Cost: ${USD_PER_CORE_HOUR} USD a core and hour, and list prices of ${PRICES_DATE} for windows of edge functions; without GPUs. Each job counts once.</p>
${failures(outcomes)}
${flagged(outcomes, flags)}
${distributions(shape, outcomes)}
${pictures(outcomes, flags, pictureOf)}
</main>
</body>
</html>
`;
}

function failures(outcomes: readonly RowOutcome[]): string {
  const failed = outcomes.filter((o) => o.status === "failed");
  if (failed.length === 0) return "";
  // Without ids in the manifest, ids are file names: show them once.
  const shownSource = ({ source, id }: RowOutcome["row"]) =>
    sourceName(source) === id ? "" : sourceName(source);
  const named = failed.some(({ row }) => shownSource(row) !== "");
  const rows = failed.slice(0, MAX_FAILURES).map(({ row, code, reason }) => {
    const source = named ? `<td>${escapeHtml(shownSource(row))}</td>` : "";
    return `<tr><td>${escapeHtml(row.id)}</td>${source}<td class="code">${escapeHtml(code)}</td><td>${escapeHtml(reason)}</td></tr>`;
  });
  const more =
    failed.length > MAX_FAILURES ? `<p>And ${failed.length - MAX_FAILURES} more, in cohort.csv.</p>` : "";
  return `<h2>Failures</h2>
<table>${head(["id", ...(named ? ["source"] : []), "code", "reason"])}<tbody>
${rows.join("\n")}
</tbody></table>${more}`;
}

function head(columns: readonly string[]): string {
  return `<thead><tr>${columns.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead>`;
}

function flagged(outcomes: readonly RowOutcome[], flags: readonly (readonly string[])[]): string {
  const flaggedScans = outcomes.flatMap(({ row }, i) =>
    flags[i]!.length > 0 ? [{ id: row.id, flags: flags[i]! }] : [],
  );
  const rules = Object.entries(FLAG_RULES).map(
    ([name, rule]) => `<li>${escapeHtml(name)}: ${escapeHtml(rule)}</li>`,
  );
  const rows = flaggedScans
    .slice(0, MAX_FAILURES)
    .map(
      ({ id, flags }) =>
        `<tr><td><a href="${escapeHtml(scanLink(id))}">${escapeHtml(id)}</a></td><td class="flag">${escapeHtml(flags.join(", "))}</td></tr>`,
    );
  return `<h2>To be looked at</h2>
${flaggedScans.length === 0 ? "<p>No scan is flagged.</p>" : `<table>${head(["id", "flags"])}<tbody>\n${rows.join("\n")}\n</tbody></table>`}
<details><summary class="soft">Rules</summary><ul class="soft">${rules.join("")}</ul>
<p class="soft">Outliers are told where at least ${LEAST_SLIDES} scans have a value.</p></details>`;
}

function distributions(shape: TableShape, outcomes: readonly RowOutcome[]): string {
  const metrics = outcomes.flatMap((o) => o.metrics ?? []);
  const all: [string, (number | undefined)[]][] = [
    ["tissue fraction", metrics.map((f) => f.tissueFraction)],
    ["seam score", metrics.map((f) => f.seamScore)],
    ["focus", metrics.map((f) => f.focus)],
    ["intensity", metrics.map((f) => f.intensity)],
    ...shape.kinds.flatMap((name): [string, (number | undefined)[]][] => [
      [`${name}: count`, metrics.map((f) => f.kinds.get(name)?.count)],
      [`${name}: per mm²`, metrics.map((f) => f.kinds.get(name)?.densityPerMm2)],
      [`${name}: median area, µm²`, metrics.map((f) => f.kinds.get(name)?.medianAreaUm2)],
    ]),
    ...shape.classes.flatMap((name): [string, (number | undefined)[]][] => [
      [`${name}: share`, metrics.map((f) => f.classes.get(name)?.fraction)],
      [`${name}: volume, mm³`, metrics.map((f) => f.classes.get(name)?.volumeMm3)],
    ]),
  ];
  const drawn = all
    .map(([name, values]) => ({ name, values: values.filter((v) => v !== undefined && Number.isFinite(v)) }))
    .filter(({ values }) => values.length > 1)
    .slice(0, MAX_HISTOGRAMS)
    .map(
      ({ name, values }) =>
        `<figure>${histogramSvg(values as number[], name)}<figcaption>${escapeHtml(name)}</figcaption></figure>`,
    );
  return drawn.length === 0 ? "" : `<h2>Distributions</h2>\n<div class="grid">\n${drawn.join("\n")}\n</div>`;
}

function pictures(
  outcomes: readonly RowOutcome[],
  flags: readonly (readonly string[])[],
  pictureOf: (job: string) => Uint8Array | undefined,
): string {
  const done = outcomes.flatMap((o, i) => (o.status === "done" && o.job ? [{ ...o, flags: flags[i]! }] : []));
  // Flagged scans first.
  const order = [...done.filter((o) => o.flags.length > 0), ...done.filter((o) => o.flags.length === 0)];
  const figures: string[] = [];
  let bytes = 0;
  for (const { row, job, flags } of order) {
    if (figures.length === MAX_PICTURES) break;
    const png = pictureOf(job!);
    if (!png) continue;
    if (bytes + png.length > MAX_PICTURE_BYTES) break;
    bytes += png.length;
    const flag = flags.length > 0 ? `<br><span class="flag">${escapeHtml(flags.join(", "))}</span>` : "";
    figures.push(
      `<figure><a href="${escapeHtml(scanLink(row.id, "overlay.png"))}"><img alt="${escapeHtml(row.id)} with the outlines that were found" src="data:image/png;base64,${Buffer.from(png).toString("base64")}"></a><figcaption><a href="${escapeHtml(scanLink(row.id))}">${escapeHtml(row.id)}</a>${flag}</figcaption></figure>`,
    );
  }
  if (figures.length === 0) return "";
  const rule = `${figures.length} of ${done.length} done; flagged ones first, then in the order of the manifest; at most ${MAX_PICTURES} and ${MAX_PICTURE_BYTES >> 20} MiB.`;
  return `<h2>Pictures</h2>\n<p class="soft">${rule}</p>\n<div class="grid">\n${figures.join("\n")}\n</div>`;
}

/** Link to the results of a scan, relative to the report. */
function scanLink(id: string, file = ""): string {
  return `${SCANS}/${encodeURIComponent(id)}/${file}`;
}

export function escapeHtml(text: string | number | undefined): string {
  return String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
