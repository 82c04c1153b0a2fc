import { join } from "node:path";
import type { Browser, CDPSession, Page } from "playwright-core";
import { type Runner, startRunner } from "../gpu-runner/start.ts";
import { bundleWorkers, PULL_PATH, type Stack, startStack } from "../src/cli/stack/local-stack.ts";
import { findWebAssets, openWebAssets } from "../src/cli/view/web-assets.ts";
import { openProvider } from "../src/inference/node/open-provider.ts";
import type { Segmenter } from "../src/inference/segmenter.ts";
import { loadModel } from "../src/local/resolve-model.ts";
import { writePointwisePackage } from "../test/builders/pointwise-package.ts";
import { writeMadeSlide } from "../test/builders/slide.ts";
import { JOBS_BINDINGS, Service, TOKEN } from "../test/stack/service.ts";
import { rendererMemory } from "./browser-processes.ts";

const MIB = 2 ** 20;
const MINUTE_MS = 60_000;
const POLLS_PER_HOUR = 1200;
/** What may be added from the first third of the time to the last one: a leak of one small object a poll is more. */
const MAX_GROWTH = { heap: 0.3 * MIB, nodes: 100 };
/** Part of the time in which the job is segmented: it is running at the end, too. */
const RUNNING_PART = 1.1;

interface TabSize {
  heap: number;
  /** Bytes of arrays, which lie outside the heap. */
  arrays: number;
  nodes: number;
}

interface OpenTabOptions {
  /** Requests for the list of jobs: an hour has 1200. */
  polls: number;
  /** Waits for real instead, on a job that moves. */
  minutes?: number;
}

/** Whether a tab grows that is left open on a running job. @throws {Error} if it does */
export async function reportOpenTab(
  browser: Browser,
  directory: string,
  { polls, minutes }: OpenTabOptions,
): Promise<void> {
  const model = writePointwisePackage(join(directory, "pointwise"));
  const pages = await openWebAssets(findWebAssets());
  const bundles = await bundleWorkers("pull");
  const stack = await startStack({
    state: join(directory, "state"),
    host: "127.0.0.1",
    port: 0,
    model,
    bundles,
    shards: "pull",
    pages: { has: pages.has, handle: (request, response) => void pages.handle(request, response) },
    jobs: { TOKENS: JOBS_BINDINGS.TOKENS },
    segment: { TOKEN },
  });
  try {
    if (minutes === undefined) await turnClock(browser, stack, directory, polls);
    else await waitMinutes(browser, stack, directory, model, minutes);
  } finally {
    await stack.stop();
    await bundles.remove();
  }
}

/** The list, with a job that does not move, for as long as an hour has polls: its clock is turned, its requests are real. */
async function turnClock(browser: Browser, stack: Stack, directory: string, most: number): Promise<void> {
  await startJob(stack, directory, 1500);
  const { page, session } = await openTab(browser);
  await page.clock.install();
  await page.goto(stack.url.href);
  await signIn(page);
  await page.clock.runFor(1000);
  await page.getByText("segmenting").first().waitFor();
  let polls = 0;
  page.on("response", (response) => {
    if (response.url().includes("/v1/jobs")) polls++;
  });
  const until = async (count: number) => {
    while (polls < count) {
      const now = polls;
      await page.clock.runFor(3000);
      for (let i = 0; i < 100 && polls === now; i++) await new Promise((r) => setTimeout(r, 5));
    }
  };
  const first = Math.floor(most / 6);
  await until(first);
  const before = await measure(session);
  await until(most);
  const after = await measure(session);
  console.log(
    `a tab on a running job: ${sizeText(before)} after ${first} polls, ${sizeText(after)} after ${most} (${(most / POLLS_PER_HOUR).toFixed(1)} hours)`,
  );
  await page.context().close();
}

/** The list and the page of a job that is segmented meanwhile, each in a tab of its own. */
async function waitMinutes(
  browser: Browser,
  stack: Stack,
  directory: string,
  model: string,
  minutes: number,
): Promise<void> {
  const job = await startJob(stack, directory, 3000);
  const service = new Service(stack.url);
  const { windows } = await service.job(job);
  const runner = await startSlowRunner(stack, model, (RUNNING_PART * minutes * MINUTE_MS) / windows!.total);
  try {
    const tabs = [];
    for (const [name, path] of [
      ["list", "/"],
      ["job", `/job?id=${job}`],
    ] as const) {
      const tab = await openTab(browser);
      await tab.page.goto(new URL(path, stack.url).href);
      await signIn(tab.page);
      await tab.page.getByText("segmenting").first().waitFor();
      tabs.push({ name, sizes: [] as TabSize[], ...tab });
    }
    console.log(`tabs on a running job, for ${minutes} minutes:`);
    for (let minute = 1; minute <= minutes; minute++) {
      await new Promise((r) => setTimeout(r, MINUTE_MS));
      for (const { sizes, session } of tabs) sizes.push(await measure(session));
      const { state, windows: now } = await service.job(job);
      console.log(
        `  ${minute} min, ${state} ${now?.done} of ${now?.total} windows: ${tabs.map(({ name, sizes }) => `${name} ${sizeText(sizes.at(-1)!)}`).join("; ")}; processes ${rendererMemory()
          .map((bytes) => Math.round(bytes / MIB))
          .join(", ")} MiB`,
      );
      if (state !== "mapping") throw new Error(`the job is ${state}: it was to run for ${minutes} minutes`);
    }
    for (const { name, sizes } of tabs) checkGrowth(name, sizes);
  } finally {
    await runner.stop();
  }
}

/** Compares the lowest values of the first third with those of the last: what can be freed comes and goes between. */
function checkGrowth(name: string, sizes: readonly TabSize[]): void {
  const third = Math.max(1, Math.floor(sizes.length / 3));
  for (const part of ["heap", "nodes"] as const) {
    const least = (some: readonly TabSize[]) => Math.min(...some.map((size) => size[part]));
    const growth = least(sizes.slice(-third)) - least(sizes.slice(0, third));
    const unit = part === "heap" ? MIB : 1;
    const text = `${name}: ${part} ${(growth / unit).toFixed(unit === 1 ? 0 : 2)} more in the last third than in the first (at most ${MAX_GROWTH[part] / unit})`;
    if (growth > MAX_GROWTH[part]) throw new Error(text);
    console.log(`  ${text}`);
  }
}

/** Starts a job whose shards wait to be pulled. @returns its id, when it is planned */
async function startJob(stack: Stack, directory: string, side: number): Promise<string> {
  const { path } = writeMadeSlide(join(directory, "waiting.tiff"), { width: side, height: side });
  const service = new Service(stack.url);
  const { id } = await service.upload(path, "waiting.tiff", { model: "pointwise" });
  const job = await service.jobOf(id);
  while ((await service.job(job)).state !== "mapping") await new Promise((r) => setTimeout(r, 100));
  return job;
}

/** A runner that takes so long for each window. */
async function startSlowRunner(stack: Stack, model: string, windowMs: number): Promise<Runner> {
  // One batch after another, however many the runner keeps in flight.
  let last = Promise.resolve();
  const slowly = (batch: { shape: readonly number[] }) => {
    last = last.then(() => new Promise((r) => setTimeout(r, windowMs * batch.shape[0]!)));
    return last;
  };
  // The runner proves the model before it takes work: that is not slowed.
  let isProven = false;
  const runner = await startRunner({
    model: await loadModel(model),
    providers: ["cpu"],
    host: "127.0.0.1",
    port: 0,
    sessions: 1,
    logTo: { write: () => {} },
    pull: {
      queue: new URL(PULL_PATH, stack.url).href,
      queueToken: TOKEN,
      service: stack.url.href,
      serviceToken: TOKEN,
    },
    async open(...options) {
      const inner = await openProvider(...options);
      const slow: Segmenter = {
        info: inner.info,
        async segment(batch, settings) {
          if (isProven) await slowly(batch);
          return inner.segment(batch, settings);
        },
        ...(inner.segmentEncoded && {
          async segmentEncoded(batch, settings) {
            if (isProven) await slowly(batch);
            return inner.segmentEncoded!(batch, settings);
          },
        }),
        close: () => inner.close(),
      };
      return slow;
    },
  });
  isProven = true;
  return runner;
}

async function openTab(browser: Browser): Promise<{ page: Page; session: CDPSession }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  return { page, session: await context.newCDPSession(page) };
}

async function signIn(page: Page): Promise<void> {
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** After garbage collection. */
async function measure(session: CDPSession): Promise<TabSize> {
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize } = (await session.send("Runtime.getHeapUsage")) as {
    usedSize: number;
    backingStorageSize: number;
  };
  const { nodes } = await session.send("Memory.getDOMCounters");
  return { heap: usedSize, arrays: backingStorageSize, nodes };
}

function sizeText({ heap, arrays, nodes }: TabSize): string {
  return `${(heap / MIB).toFixed(2)} MiB of heap, ${(arrays / MIB).toFixed(1)} of arrays, ${nodes} nodes`;
}
