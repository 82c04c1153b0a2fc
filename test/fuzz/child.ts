/** Tries the numbers that it is sent, one after the other, in the directory where it is started, and tells what each came to. */
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
  /** Of the processor or of the clock, whichever is less. */
  milliseconds: number;
  /** The most memory that the process ever had. */
  peakBytes: number;
}

export interface Task {
  from: number;
  to: number;
  only?: Format;
}

/** What has nobody who awaits it, and what a library says by itself. */
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
    // On a machine that others use as well a file takes longer than it needs.
    const milliseconds = Math.min(performance.now() - begun, (user + system) / 1000);
    // For promises that fail when the call is over.
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
    // A fault of the campaign: the parent tells the number.
    process.exit(70);
  }
  process.disconnect();
});
