/**
 * Runs the case numbers that it receives, one after the other, in its working directory, and reports each outcome.
 */
import { makeCase } from "./cases.ts";
import { type Format, findSeeds } from "./seeds.ts";
import { tryCase } from "./try-case.ts";

export interface Begun {
  number: number;
  format?: undefined;
}

export interface Tried {
  number: number;
  format: Format;
  seed: string;
  operation: string;
  outcome: "read" | "refused" | "failed";
  finds: string[];
  /** CPU or wall time, whichever is less. */
  milliseconds: number;
  /** Peak memory of the process. */
  peakBytes: number;
}

export interface Task {
  from: number;
  to: number;
  only?: Format;
}

/** Unhandled rejections, and output of libraries. */
const heard: string[] = [];
const hear = (what: string) => (reason: unknown) =>
  void heard.push(`${what}: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`);
process.on("unhandledRejection", hear("a promise that nobody heard of"));
process.on("uncaughtException", hear("an error outside of any call"));
process.on("warning", hear("a warning"));
for (const stream of [process.stdout, process.stderr]) {
  stream.write = (text: unknown) => {
    heard.push(`printed: ${String(text).trimEnd()}`);
    return true;
  };
}

process.on("disconnect", () => process.exit());

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function tryAll({ from, to, only }: Task): Promise<void> {
  const seeds = findSeeds();
  for (let number = from; number < to; number++) {
    const one = makeCase(number, seeds, only);
    process.send!({ number } satisfies Begun);
    const begun = performance.now();
    const before = process.cpuUsage();
    const { outcome, find } = await tryCase(one);
    const { user, system } = process.cpuUsage(before);
    // On a shared machine a file takes longer than it needs.
    const milliseconds = Math.min(performance.now() - begun, (user + system) / 1000);
    // For promises that fail after the call.
    await pause(1);
    const { format, seed, operation } = one;
    const finds = [...(find === undefined ? [] : [find]), ...heard.splice(0)];
    const peakBytes = process.resourceUsage().maxRSS * 1024;
    process.send!({
      number,
      format,
      seed,
      operation,
      outcome,
      finds,
      milliseconds,
      peakBytes,
    } satisfies Tried);
  }
}

process.once("message", async (task: Task) => {
  try {
    await tryAll(task);
  } catch {
    // A bug of the campaign: the parent reports the number.
    process.exit(70);
  }
  process.disconnect();
});
