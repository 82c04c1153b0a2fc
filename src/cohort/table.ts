import type { ModelPackage } from "../model-package/load-package.ts";
import { type Flag, flagSlides } from "./flags.ts";
import { type CohortRow, sourceName } from "./manifest-rows.ts";
import type { SlideMetrics } from "./slide-metrics.ts";

export type RowStatus = "done" | "failed" | "pending" | "running";

/** A row of the manifest and its result. */
export interface RowOutcome {
  row: CohortRow;
  status: RowStatus;
  code?: string;
  reason?: string;
  job?: string;
  metrics?: SlideMetrics;
  /** USD, forecast before the run. */
  forecast?: number;
  /** Flags of the source, besides those from comparing slides. */
  flags?: readonly Flag[];
}

export type ColumnType = "text" | "whole" | "number";
export interface Column {
  name: string;
  type: ColumnType;
}
export type Cell = string | number | undefined;

/** Columns that depend on the model; the same for every cohort of a model, whatever failed. */
export interface TableShape {
  covariates: readonly string[];
  classes: readonly string[];
  kinds: readonly string[];
  /** Whether the classes are structures of a volume. */
  isVolume: boolean;
}

const text = (name: string): Column => ({ name, type: "text" });
const whole = (name: string): Column => ({ name, type: "whole" });
const number = (name: string): Column => ({ name, type: "number" });

const HEAD = [text("id"), text("source"), text("status"), text("code"), text("reason"), text("flags")];
const METRICS: [Column, (metrics: SlideMetrics) => Cell][] = [
  [number("mpp_um"), (f) => f.mpp],
  [whole("level"), (f) => f.level],
  [number("tissue_fraction"), (f) => f.tissueFraction],
  [whole("windows"), (f) => f.windows],
  [number("domain_distance"), (f) => f.domainDistance],
  [number("seam_score"), (f) => f.seamScore],
  [number("disagreement"), (f) => f.disagreement],
  [number("coverage"), (f) => f.coverage],
  [number("focus"), (f) => f.focus],
  [number("intensity"), (f) => f.intensity],
  [number("analysed_area_mm2"), (f) => f.analysedAreaMm2],
];
const OF_CLASS = [
  ["fraction", "fraction"],
  ["area_um2", "areaUm2"],
] as const;
const OF_STRUCTURE = [
  ["fraction", "fraction"],
  ["volume_mm3", "volumeMm3"],
] as const;
const OF_KIND = [
  ["count", "count"],
  ["density_per_mm2", "densityPerMm2"],
  ["mean_area_um2", "meanAreaUm2"],
  ["median_area_um2", "medianAreaUm2"],
] as const;
const USED: [Column, (metrics: SlideMetrics) => Cell][] = [
  [number("seconds"), (f) => f.seconds],
  [whole("bytes_read"), (f) => f.bytesRead],
  [whole("bytes_written"), (f) => f.bytesWritten],
  [number("cost_usd"), (f) => f.cost],
];

export function tableColumns({ covariates, classes, kinds, isVolume }: TableShape): Column[] {
  const ofClass = isVolume ? OF_STRUCTURE : OF_CLASS;
  return [
    ...HEAD,
    ...covariates.map(text),
    text("job"),
    ...METRICS.map(([column]) => column),
    ...classes.flatMap((name) => ofClass.map(([prefix]) => number(`${prefix}_${name}`))),
    ...kinds.flatMap((name) =>
      OF_KIND.map(([prefix]) => (prefix === "count" ? whole : number)(`${prefix}_${name}`)),
    ),
    ...USED.map(([column]) => column),
    number("forecast_usd"),
  ];
}

/** Columns of the table that depend on the model: classes, and kinds of objects. */
export function tableShape({ manifest }: ModelPackage): Omit<TableShape, "covariates"> {
  const classes = manifest.classes.map(({ name }) => name);
  const isVolume = manifest.input.axes === "zyx" || manifest.input.slices !== undefined;
  if (isVolume) return { classes: classes.slice(1), kinds: [], isVolume };
  return { classes, kinds: manifest.objects ? [manifest.objects.className] : classes.slice(1), isVolume };
}

/** Names that columns of a manifest must not have. */
export function reservedColumnNames(shape: Omit<TableShape, "covariates">): ReadonlySet<string> {
  return new Set(tableColumns({ ...shape, covariates: [] }).map((column) => column.name));
}

/** One row for each row of the manifest, in its order. */
export function tableCells(shape: TableShape, outcomes: readonly RowOutcome[]): Cell[][] {
  const flags = flagSlides(outcomes.map((o) => o.metrics));
  const ofClass = shape.isVolume ? OF_STRUCTURE : OF_CLASS;
  return outcomes.map(({ row, status, code, reason, job, metrics, forecast, flags: more = [] }, i) => [
    row.id,
    sourceName(row.source),
    status,
    code,
    reason,
    [...flags[i]!, ...more].join(" ") || undefined,
    ...shape.covariates.map((_, n) => row.values[n]),
    job,
    ...METRICS.map(([, of]) => metrics && of(metrics)),
    ...shape.classes.flatMap((name) => ofClass.map(([, field]) => metrics?.classes.get(name)?.[field])),
    ...shape.kinds.flatMap((name) => OF_KIND.map(([, field]) => metrics?.kinds.get(name)?.[field])),
    ...USED.map(([, of]) => metrics && of(metrics)),
    forecast,
  ]);
}

/**
 * A table as CSV (RFC 4180): CRLF, quotes only where needed; a cell that does not apply is empty.
 *
 * Written by hand: ten lines. csv-parse reads manifests.
 */
export function toCsv(columns: readonly Column[], cells: readonly (readonly Cell[])[]): string {
  const line = (row: readonly Cell[]) => `${row.map(field).join(",")}\r\n`;
  return line(columns.map((column) => column.name)) + cells.map(line).join("");
}

function field(cell: Cell): string {
  if (cell === undefined || cell === null) return "";
  const text = String(cell);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
