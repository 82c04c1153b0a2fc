import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type LoadedWorkers, loadWorkers } from "../../bench/scale/load-workers.ts";
import { CLOUDFLARE, NO_FAULTS, ON_CLOUDFLARE } from "../../bench/scale/platform.ts";
import { Random } from "../../bench/scale/random.ts";
import { type Outcome, type Scenario, simulate } from "../../bench/scale/simulate.ts";
import { makeSlides, type Slide } from "../../bench/scale/slides.ts";
import { loadModel } from "../../src/local/resolve-model.ts";

let workers: LoadedWorkers;
let made: Slide[];
beforeAll(async () => {
  workers = await loadWorkers();
  made = await makeSlides((await loadModel("nuclei")).manifest, 4, new Random(7));
});

// Ledgers warn of what the faults do to them.
beforeEach(() => void vi.spyOn(console, "warn").mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

const scenario = (change: Partial<Scenario> = {}): Scenario => ({
  seed: 1,
  slides: made,
  concurrency: 3,
  platform: CLOUDFLARE,
  durations: ON_CLOUDFLARE,
  faults: NO_FAULTS,
  ...change,
});
const run = (change?: Partial<Scenario>) => simulate(scenario(change), workers);

/** Jobs that were under way at the same time, at most. */
function mostAtOnce({ jobs }: Outcome): number {
  const changes = jobs
    .flatMap(({ startedAt, endedAt }) => [
      { at: startedAt, by: 1 },
      { at: endedAt, by: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  return changes.reduce((most, { by }) => {
    now += by;
    return Math.max(most, now);
  }, 0);
}

describe("a simulated cohort", () => {
  it("without faults does everything once, and as the plans say", async () => {
    const outcome = await run();
    const tasks = made.reduce((n, slide) => n + slide.shards.length + slide.merges.length + 2, 0);
    expect(outcome.jobs.map(({ slide }) => slide).sort()).toEqual([0, 1, 2, 3]);
    expect(outcome.windowsComputed).toBe(outcome.windows);
    expect(outcome.queue).toMatchObject({
      sent: tasks,
      deliveries: tasks,
      retries: 0,
      operations: 3 * tasks,
    });
    expect(outcome.ledger.callsOf).toMatchObject({ claim: tasks + 4, done: tasks, create: 4, dispatch: 16 });
    expect(outcome.workflow).toMatchObject({ created: 4, restarted: 0 });
    expect(outcome.seconds * 1000 * CLOUDFLARE.consumersPerQueue).toBeGreaterThan(
      outcome.windows * ON_CLOUDFLARE.window * 0.8,
    );
  });

  it("loses nothing and counts nothing twice, whatever goes wrong, within the limits of the platform", async () => {
    const share = (most: number) => fc.double({ min: 0, max: most, noNaN: true });
    const settings = fc.record({
      seed: fc.nat(1000),
      concurrency: fc.integer({ min: 1, max: 6 }),
      queues: fc.integer({ min: 1, max: 5 }),
      ahead: fc.constantFrom(1, 7, 50, 500),
      faults: fc.record({
        duplicates: share(0.3),
        refusals: share(0.3),
        failures: share(0.1),
        crashes: share(0.1),
        stragglers: share(0.2),
        stragglerFactor: fc.constant(20),
        coldStarts: share(0.5),
        lostRecords: share(0.1),
      }),
    });
    await fc.assert(
      fc.asyncProperty(settings, async ({ seed, concurrency, queues, ahead, faults }) => {
        // `simulate` itself throws where a job is not done, or a window is missing or counted twice.
        const outcome = await run({
          seed,
          concurrency,
          faults,
          platform: { ...CLOUDFLARE, queues, consumersPerQueue: 40, tries: 100 },
          bindings: { TASKS_AHEAD: String(ahead) },
        });
        expect(outcome.jobs.filter(({ error }) => error === undefined)).toHaveLength(made.length);
        expect(outcome.windowsComputed).toBeGreaterThanOrEqual(outcome.windows);
        expect(outcome.mostConsumers).toBeLessThanOrEqual(40);
        expect(mostAtOnce(outcome)).toBeLessThanOrEqual(concurrency);
        for (const used of Object.values(outcome.used)) expect(used).toBeLessThanOrEqual(1);
      }),
      { numRuns: 12 },
    );
  });

  it("is the same for the same seed, and another for another", async () => {
    const faults = { ...NO_FAULTS, refusals: 0.1, duplicates: 0.01, failures: 0.01, crashes: 0.01 };
    const bare = ({ ledger: { cpuMs: _, ...ledger }, ...rest }: Outcome) => ({ ...rest, ledger });
    const [first, again, other] = [
      await run({ faults }),
      await run({ faults }),
      await run({ faults, seed: 2 }),
    ];
    expect(bare(again)).toEqual(bare(first));
    expect(bare(other)).not.toEqual(bare(first));
  });

  it("fails the job whose task failed in every try, and no other", async () => {
    const outcome = await run({ faults: { ...NO_FAULTS, failures: 0.25 } });
    const failed = outcome.jobs.filter(({ error }) => error !== undefined);
    expect(failed.length).toBeGreaterThan(0);
    for (const { error } of failed) expect(error).toMatch(/(shard|merge) \d+ failed on every attempt/);
    expect(outcome.jobs).toHaveLength(made.length);
  });

  it("goes on where every crash of a consumer would cost all that was computed", async () => {
    const faults = { ...NO_FAULTS, crashes: 0.2 };
    const outcome = await run({ faults, platform: { ...CLOUDFLARE, tries: 50 } });
    expect(outcome.queue.retries).toBeGreaterThan(100);
    expect(outcome.windowsComputed / outcome.windows).toBeCloseTo(1 / 0.8, 0);
  });
});

describe("a job's part of a queue", () => {
  it("is bounded, so that a small job beside a large one does not wait for its length", async () => {
    const [small, , , large] = made as [Slide, Slide, Slide, Slide];
    const slides = [large, large, small];
    const betweenMs = 60_000;
    const platform = { ...CLOUDFLARE, consumersPerQueue: 8 };
    const took = async (ahead: number) => {
      const outcome = await run({ slides, betweenMs, platform, bindings: { TASKS_AHEAD: String(ahead) } });
      const { startedAt, endedAt } = outcome.jobs.find(({ slide }) => slide === 2)!;
      return { small: endedAt - startedAt, all: outcome.seconds, waiting: outcome.queue.mostWaiting };
    };
    const bounded = await took(16);
    const unbounded = await took(100_000);
    expect(bounded.waiting).toBeLessThanOrEqual(3 * 16);
    expect(bounded.small).toBeLessThan(0.6 * unbounded.small);
    expect(bounded.all).toBeLessThan(1.05 * unbounded.all);
  });

  it("is enough for all consumers of a queue where a job is alone", async () => {
    const slides = [made[3]!];
    const usual = await run({ slides });
    const unbounded = await run({ slides, bindings: { TASKS_AHEAD: "100000" } });
    expect(usual.seconds).toBeLessThan(1.03 * unbounded.seconds);
  });
});
