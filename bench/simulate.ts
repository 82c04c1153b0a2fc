/**
 * Cohorts through the job service in virtual time: docs/scale.md, whose tables and plots it writes.
 *   npm run simulate [-- --slides 1000 --large 10000 --seed 1 --dry-run]
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../src/local/resolve-model.ts";
import { planWindowGrid, windowCount } from "../src/tiling/grid/window-grid.ts";
import { lineChart } from "./scale/chart.ts";
import { type Figures, figuresOf, idealPerSecond, replaceBlock, table } from "./scale/figures.ts";
import { simulateFleet } from "./scale/fleet.ts";
import { loadWorkers } from "./scale/load-workers.ts";
import { CLOUDFLARE, NO_FAULTS, ON_CLOUDFLARE, ON_ONNXRUNTIME, USUAL_FAULTS } from "./scale/platform.ts";
import { Random } from "./scale/random.ts";
import { type Outcome, type Scenario, simulate } from "./scale/simulate.ts";
import { makeSlides, type Slide } from "./scale/slides.ts";

const { values: flags } = parseArgs({
  options: {
    slides: { type: "string", default: "1000" },
    large: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    "dry-run": { type: "boolean", default: false },
  },
});
const seed = Number(flags.seed);
const few = Number(flags.slides);
const many = Number(flags.large);
/** Where four queues have enough to do. */
const fewer = Math.ceil(few / 2);
const DOCS = join(import.meta.dirname, "../docs");
/** Different plans; the slides of a cohort are so many of each. */
const PLANS = 25;

// Ledgers warn of what the faults do to them.
console.warn = () => {};
const workers = await loadWorkers();
const { manifest } = await loadModel("nuclei");
const cpuBefore = process.cpuUsage();
const plans = await makeSlides(manifest, PLANS, new Random(seed));
const planning = process.cpuUsage(cpuBefore);
const planned = plans.reduce((n, { windows }) => n + windows, 0);
console.log(`planning: ${((planning.user + planning.system) / planned).toFixed(1)} µs CPU a window`);

type Order = "by chance" | "largest first" | "smallest first";
function cohort(count: number, order: Order = "by chance"): Slide[] {
  const random = new Random(seed + 1);
  const slides = Array.from({ length: count }, (_, n) => ({
    slide: plans[n % PLANS]!,
    rank: random.uniform(),
  }));
  const sign = { "by chance": 0, "largest first": -1, "smallest first": 1 }[order];
  slides.sort((a, b) => sign * (a.slide.windows - b.slide.windows) || a.rank - b.rank);
  return slides.map(({ slide }) => slide);
}

interface Run {
  what: string;
  /** CPU of this machine for all of the simulation, in microseconds a window, and its memory at the end. */
  cpuMicros: number;
  memoryBytes: number;
  figures: Figures;
  outcome: Outcome;
}

/** A cohort as it usually is, and what is different. */
async function run(
  what: string,
  queues: number,
  concurrency: number,
  change: Partial<Scenario> = {},
): Promise<Run> {
  const scenario: Scenario = {
    seed,
    slides: cohort(fewer),
    concurrency,
    platform: { ...CLOUDFLARE, queues },
    durations: ON_CLOUDFLARE,
    faults: USUAL_FAULTS,
    ...change,
  };
  const from = performance.now();
  const cpu = process.cpuUsage();
  const outcome = await simulate(scenario, workers);
  const { user, system } = process.cpuUsage(cpu);
  const figures = figuresOf(scenario, outcome);
  const took = (performance.now() - from) / 1000;
  console.log(
    `${queues} queues, ${concurrency} jobs at a time, ${figures.slides} slides ${what}: ${figures.failed} failed; simulated in ${took.toFixed(0)} s`,
  );
  return {
    what,
    figures,
    outcome,
    cpuMicros: (user + system) / outcome.windows,
    memoryBytes: process.memoryUsage().rss,
  };
}

const byQueues: Run[] = [];
for (const queues of [1, 4, 16, 40]) {
  byQueues.push(await run("", queues, 8 * queues, { slides: cohort(few) }));
}
const byConcurrency: Run[] = [];
for (const each of [1, 2, 4, 8, 16]) byConcurrency.push(await run("", 4, 4 * each));
const others = [
  await run("as above", 4, 32),
  await run("largest first", 4, 32, { slides: cohort(fewer, "largest first") }),
  await run("smallest first", 4, 32, { slides: cohort(fewer, "smallest first") }),
  await run("all slides started at once", 4, fewer),
  await run("at most 400 tasks of a job in progress", 4, 32, { bindings: { TASKS_AHEAD: "100" } }),
  await run("no bound on a job's tasks", 4, 32, { bindings: { TASKS_AHEAD: "1000000" } }),
  await run("no faults", 4, 32, { faults: NO_FAULTS }),
  await run("ten times the faults", 4, 32, {
    faults: {
      duplicates: 0.01,
      refusals: 0,
      failures: 0.02,
      crashes: 0.01,
      stragglers: 0.1,
      stragglerFactor: 4,
      coldStarts: 0.2,
      lostRecords: 0.001,
    },
  }),
  await run("700 ms a window: onnxruntime-web", 4, 32, { durations: ON_ONNXRUNTIME }),
];
const large = await run("", 16, 128, { slides: cohort(many, "largest first") });
const fleets = await runFleets();

const queueColumns: readonly (readonly [string, (run: Run) => string])[] = [
  ["queues", ({ figures }) => `${figures.queues}`],
  ["jobs at a time", ({ figures }) => `${figures.concurrency}`],
  ["all slides", ({ figures }) => duration(figures.hours)],
  ["windows/s", ({ figures }) => `${Math.round(figures.windowsPerSecond)}`],
  ["consumers at work", ({ figures }) => percent(figures.consumersUsed)],
  ["a slide: median", ({ figures }) => `${figures.slideMinutes[0].toFixed(1)} min`],
  ["slowest 1 %", ({ figures }) => `${figures.slideMinutes[1].toFixed(1)} min`],
  ["USD a slide", ({ figures }) => (figures.usd / figures.slides).toFixed(3)],
];
const blocks = {
  queues: table(byQueues, queueColumns),
  concurrency: table(byConcurrency, queueColumns),
  others: table(others, [["", ({ what }) => what], ...queueColumns.slice(2)]),
  large: table([large], [["slides", ({ figures }) => `${figures.slides}`], ...queueColumns]),
  cost: table(
    [large],
    (["model", "tasks", "requests", "queues", "writes", "reads"] as const).map(
      (part) => [part, ({ figures }) => `${figures.cost[part].toFixed(0)} USD`] as const,
    ),
  ),
  limits: table(
    [...byQueues, large],
    [
      ["slides", ({ figures }) => `${figures.slides}`],
      ["queues", ({ figures }) => `${figures.queues}`],
      ["consumers of shards", ({ figures }) => percent(figures.consumersUsed)],
      ["of the fullest queue", ({ figures }) => percent(figures.fullestQueueUsed)],
      ["of tasks", ({ figures }) => percent(figures.taskConsumersUsed)],
      ["sending to a queue", ({ figures }) => percent(figures.sendingUsed)],
      ["rows of a ledger, busiest 10 s", ({ figures }) => percent(figures.ledgerUsed)],
      ["messages waiting, at most", ({ figures }) => `${figures.mostWaiting}`],
      ["R2 operations/s", ({ figures }) => `${Math.round(figures.r2PerSecond)}`],
    ],
  ),
  machinery: table(
    [...byQueues, large],
    [
      ["slides", ({ figures }) => `${figures.slides}`],
      ["queues", ({ figures }) => `${figures.queues}`],
      ["shards", ({ outcome }) => `${outcome.shards}`],
      ["CPU a window", ({ cpuMicros }) => `${cpuMicros.toFixed(1)} µs`],
      ["a shard in its ledger", ({ outcome }) => `${outcome.ledger.bytesPerShard.toFixed(0)} bytes`],
      ["memory of the simulation", ({ memoryBytes }) => `${(memoryBytes / 1e6).toFixed(0)} MB`],
    ],
  ),
  fleet: fleets,
};
console.log(Object.values(blocks).join("\n\n"));
if (!flags["dry-run"]) {
  const path = join(DOCS, "scale.md");
  let document = readFileSync(path, "utf8");
  for (const [name, text] of Object.entries(blocks)) document = replaceBlock(document, name, text);
  writeFileSync(path, document);
  const folder = join(DOCS, "scale");
  mkdirSync(folder, { recursive: true });
  for (const [name, svg] of Object.entries(charts())) writeFileSync(join(folder, `${name}.svg`), svg);
}

function charts(): Record<string, string> {
  const queueTicks = byQueues.map(({ figures }) => figures.queues);
  const rate = rates(large.outcome, ({ windows }) => windows);
  return {
    queues: lineChart({
      title: `Windows a second by number of queues, ${few} slides`,
      x: { label: "queues", log: true, ticks: queueTicks },
      y: { label: "windows/s", log: true },
      series: [
        {
          name: "simulated",
          points: byQueues.map(({ figures }) => [figures.queues, figures.windowsPerSecond]),
        },
        {
          name: "every consumer computes all the time",
          dashed: true,
          points: queueTicks.map((n) => [
            n,
            idealPerSecond({ ...CLOUDFLARE, queues: n }, ON_CLOUDFLARE.window),
          ]),
        },
      ],
    }),
    concurrency: lineChart({
      title: "Consumers at work and time of a slide, 4 queues",
      x: {
        label: "jobs at a time",
        log: true,
        ticks: byConcurrency.map(({ figures }) => figures.concurrency),
      },
      y: { label: "% and minutes" },
      series: [
        {
          name: "consumers at work, %",
          points: byConcurrency.map(({ figures }) => [figures.concurrency, 100 * figures.consumersUsed]),
        },
        {
          name: "a slide, min",
          points: byConcurrency.map(({ figures }) => [figures.concurrency, figures.slideMinutes[0]]),
        },
        {
          name: "slowest 1 %, min",
          points: byConcurrency.map(({ figures }) => [figures.concurrency, figures.slideMinutes[1]]),
        },
      ],
    }),
    throughput: lineChart({
      title: `${many} slides, 16 queues, largest first: windows a second over time`,
      x: { label: "hours" },
      y: { label: "windows/s" },
      series: [{ name: "windows/s", points: rate }],
    }),
    waiting: lineChart({
      title: `${many} slides, 16 queues, largest first: shards waiting on all queues`,
      x: { label: "hours" },
      y: { label: "messages" },
      series: [
        {
          name: "shards waiting",
          points: large.outcome.timeline.map((p) => [p.seconds / 3600, p.waiting]),
        },
      ],
    }),
  };
}

/** What a count of the timeline grew by in a second, from point to point, by the hour. */
function rates(
  { timeline }: Outcome,
  of: (point: Outcome["timeline"][number]) => number,
): (readonly [number, number])[] {
  return timeline
    .slice(1)
    .map((point, n) => [
      point.seconds / 3600,
      Math.max(0, of(point) - of(timeline[n]!)) / Math.max(1e-3, point.seconds - timeline[n]!.seconds),
    ]);
}

/** A slide of the middle on fleets of runners, each 200 windows a second. */
async function runFleets(): Promise<string> {
  const windows = Math.round(
    0.4 * windowCount(planWindowGrid({ shape: [30_000, 40_000], window: [224, 224] })),
  );
  const shards = Array.from({ length: Math.ceil(windows / 16) }, (_, n) => Math.min(16, windows - 16 * n));
  const fast = { msPerWindow: 5, concurrency: 4, windowsPerRequest: 64, roundTripMs: 30 };
  // Of the ideal, how many of the fast ones a fleet is worth, and what was done by one that hangs later.
  const cases: [string, (typeof fast & { hangsAfter?: number })[], number, number?][] = [
    ["1", [fast], 1],
    ["4", Array.from({ length: 4 }, () => fast), 4],
    ["16", Array.from({ length: 16 }, () => fast), 16],
    ["4, one a quarter as fast", [fast, fast, fast, { ...fast, msPerWindow: 20 }], 3.25],
    ["4, one of which hangs half way", [fast, fast, fast, { ...fast, hangsAfter: 2000 }], 3, 2000],
  ];
  const rows: { name: string; seconds: number; ideal: number; cpu: number; hedges: number }[] = [];
  for (const [name, runners, speed, before = 0] of cases) {
    const { seconds, reports, cpuMs } = await simulateFleet({ seed, runners, shards, timeoutMs: 60_000 });
    rows.push({
      name,
      seconds,
      ideal: ((windows - before) * fast.msPerWindow) / 1000 / speed,
      cpu: (1000 * cpuMs) / windows,
      hedges: reports.reduce((n, r) => n + r.hedges, 0),
    });
  }
  return table(rows, [
    ["runners", (r) => r.name],
    ["a slide", (r) => `${r.seconds.toFixed(1)} s`],
    ["over the ideal", (r) => (r.seconds / r.ideal).toFixed(2)],
    ["hedged requests", (r) => `${r.hedges}`],
    ["CPU of the scheduler a window", (r) => `${r.cpu.toFixed(0)} µs`],
  ]);
}

function duration(hours: number): string {
  return hours < 48 ? `${hours.toFixed(1)} h` : `${(hours / 24).toFixed(1)} d`;
}

function percent(share: number): string {
  return share < 0.01 ? "below 1 %" : `${Math.round(100 * share)} %`;
}
