import { type Cost, costOf, totalOf } from "./cost.ts";
import type { Platform } from "./platform.ts";
import type { Outcome, Scenario } from "./simulate.ts";

/** Figures of a simulated cohort for a table. */
export interface Figures {
  slides: number;
  queues: number;
  concurrency: number;
  hours: number;
  windowsPerSecond: number;
  /** Minutes from start to results: median and 99th percentile of the slides. */
  slideMinutes: readonly [number, number];
  /** Utilization of all consumers from the first to the last job, and of those of the fullest queue. */
  consumersUsed: number;
  fullestQueueUsed: number;
  taskConsumersUsed: number;
  sendingUsed: number;
  /** Share of the rows that a ledger may write per second, in the ten busiest seconds of any ledger. */
  ledgerUsed: number;
  mostWaiting: number;
  r2PerSecond: number;
  failed: number;
  usd: number;
  cost: Cost;
}

export function figuresOf(scenario: Scenario, outcome: Outcome): Figures {
  const { platform, concurrency } = scenario;
  const minutes = outcome.jobs.map((job) => (job.endedAt - job.startedAt) / 60_000).sort((a, b) => a - b);
  const cost = costOf(outcome);
  return {
    slides: outcome.jobs.length,
    queues: platform.queues,
    concurrency,
    hours: outcome.seconds / 3600,
    windowsPerSecond: outcome.windows / outcome.seconds,
    slideMinutes: [at(minutes, 0.5), at(minutes, 0.99)],
    consumersUsed: outcome.used.consumers,
    fullestQueueUsed: outcome.used.fullestQueue,
    taskConsumersUsed: outcome.used.taskConsumers,
    sendingUsed: outcome.used.sending,
    ledgerUsed: outcome.ledger.mostRowsPerSecond / platform.ledgerRowsPerSecond,
    mostWaiting: outcome.queue.mostWaiting,
    r2PerSecond: (outcome.r2.reads + outcome.r2.writes) / outcome.seconds,
    failed: outcome.jobs.filter(({ error }) => error !== undefined).length,
    usd: totalOf(cost),
    cost,
  };
}

/** Windows per second if consumers only ever computed windows. */
export function idealPerSecond({ queues, consumersPerQueue }: Platform, windowMs: number): number {
  return (queues * consumersPerQueue * 1000) / windowMs;
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

/** A Markdown table; a column is a heading and a function of a row. */
export function table<T>(
  rows: readonly T[],
  columns: readonly (readonly [string, (row: T) => string])[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(columns.map(([heading]) => heading)),
    `|${"---|".repeat(columns.length)}`,
    ...rows.map((row) => line(columns.map(([, of]) => of(row)))),
  ].join("\n");
}

/** Puts text between `<!-- name -->` and `<!-- /name -->`. */
export function replaceBlock(document: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = document.indexOf(open);
  const to = document.indexOf(close);
  if (from < 0 || to < from) throw new Error(`the document has no place ${open} … ${close}`);
  return `${document.slice(0, from + open.length)}\n${text}\n${document.slice(to)}`;
}
