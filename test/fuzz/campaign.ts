import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Begun, Task, Tried } from "./child.ts";
import { FORMATS, type Format } from "./seeds.ts";

const CHILDREN = 2;
/** Files of one child process; the next one measures memory afresh. */
const BATCH = 200;
/** CPU time: the machine may have other work. */
const MOST_MILLISECONDS = 10_000;
/** Wall time, for waits without CPU time and for making a file. */
const MOST_WAITING = 30_000;
const MOST_BYTES = 1e9;
/** A child above this is killed, to protect the machine. */
const STOP_BYTES = 3e9;
const SHOWN = 3;

interface Find {
  number: number;
  what: string;
  about: string;
}

type Ended = { last?: Tried; at: number; reason?: "hang" | "memory" | "ended"; detail: string };

/** Runs cases by number in child processes and counts their outcomes. */
export class Campaign {
  readonly #end: number;
  readonly #only: Format | undefined;
  readonly #start: number;
  readonly #directory = mkdtempSync(path.join(tmpdir(), "tilewright-fuzz-"));
  readonly #counts = new Map<string, number>();
  readonly #finds = new Map<string, Find[]>();
  #next: number;
  #done = 0;
  #highest = 0;
  #longest = 0;

  constructor(start: number, count: number, only: Format | undefined) {
    this.#start = start;
    this.#next = start;
    this.#end = start + count;
    this.#only = only;
  }

  /** @returns whether there was no finding */
  async run(): Promise<boolean> {
    const count = this.#end - this.#start;
    console.log(`files ${this.#start} to ${this.#end - 1}${this.#only ? ` of ${this.#only}` : ""}`);
    const begun = Date.now();
    const telling = setInterval(() => {
      const found = [...this.#finds.values()].reduce((n, finds) => n + finds.length, 0);
      console.log(
        `${this.#done} of ${count} files, ${Math.round((Date.now() - begun) / 1000)} s, ${found} finds`,
      );
    }, 60_000);
    await Promise.all(Array.from({ length: CHILDREN }, () => this.#work()));
    clearInterval(telling);
    rmSync(this.#directory, { recursive: true });
    return this.#report(Math.round((Date.now() - begun) / 1000));
  }

  async #work(): Promise<void> {
    while (this.#next < this.#end) {
      const from = this.#next;
      const to = Math.min(this.#end, from + BATCH);
      this.#next = to;
      let at = from;
      while (at < to) at = await this.#batch(at, to);
    }
  }

  /** @returns the number to continue with */
  async #batch(from: number, to: number): Promise<number> {
    const ended = await this.#child({ from, to, only: this.#only }, (tried) => {
      this.#take(tried);
      return tried.peakBytes <= MOST_BYTES && tried.milliseconds <= MOST_MILLISECONDS;
    });
    const { last, at, reason, detail } = ended;
    if (reason === undefined && at >= to) return to;
    if (reason === undefined && last) {
      // Too much memory or time at its end: perhaps because of earlier files or of the machine. Run once more, alone.
      await this.#alone(last.number, last);
      return at;
    }
    if (reason === "ended") {
      this.#find(at, `the process ended (${detail})`, await this.#about(at));
      this.#done++;
    } else await this.#alone(at, undefined);
    return at + 1;
  }

  async #alone(number: number, before: Tried | undefined): Promise<void> {
    let seen: Tried | undefined;
    const { reason } = await this.#child({ from: number, to: number + 1, only: this.#only }, (tried) => {
      seen = tried;
      return true;
    });
    const about = seen ?? before;
    const text = about ? aboutOf(about) : await this.#about(number);
    if (reason === "hang" || (seen && seen.milliseconds > MOST_MILLISECONDS))
      this.#find(number, "more than 10 s", text);
    else if (reason === "memory" || (seen && seen.peakBytes > MOST_BYTES))
      this.#find(
        number,
        `more than 1 GB (${seen ? Math.round(seen.peakBytes / 1e6) : STOP_BYTES / 1e6} MB)`,
        text,
      );
    else if (reason === "ended") this.#find(number, "the process ended", text);
    if (before === undefined && seen) this.#count(seen);
    else if (before === undefined) this.#done++;
    if (seen) this.#highest = Math.max(this.#highest, seen.peakBytes);
  }

  #take(tried: Tried): void {
    this.#count(tried);
    for (const find of tried.finds) this.#find(tried.number, find, aboutOf(tried));
    if (tried.peakBytes <= MOST_BYTES) this.#highest = Math.max(this.#highest, tried.peakBytes);
  }

  #count({ format, outcome, milliseconds }: Tried): void {
    this.#done++;
    this.#longest = Math.max(this.#longest, milliseconds);
    const name = `${format} ${outcome}`;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  #find(number: number, what: string, about: string): void {
    // Groups messages that differ only in numbers and quoted words.
    const [head, ...stack] = what.split("\n");
    const place = stack.find((line) => line.includes("/src/"))?.replace(/^.*(\/src\/[^)]*).*$/, "$1") ?? "";
    const kind = `${head!
      .slice(0, 160)
      .replace(/\d+/g, "#")
      .replace(/"[^"]*"/g, '""')} ${place}`;
    const finds = this.#finds.get(kind) ?? [];
    finds.push({ number, what, about });
    this.#finds.set(kind, finds);
    if (finds.length <= SHOWN) {
      const again = `npm run test:fuzz -- --start ${number} --count 1${this.#only ? ` --only ${this.#only}` : ""}`;
      console.log(`FIND ${what.split("\n").slice(0, 8).join("\n")}\n  ${about}\n  again: ${again}`);
    }
  }

  /** Seed and operation of the number that ended its process. */
  async #about(number: number): Promise<string> {
    const { makeCase } = await import("./cases.ts");
    const { findSeeds } = await import("./seeds.ts");
    return aboutOf(makeCase(number, findSeeds(), this.#only));
  }

  #child(task: Task, take: (tried: Tried) => boolean): Promise<Ended> {
    const child = fork(path.join(import.meta.dirname, "child.ts"), [], {
      // Started like the command line.
      cwd: mkdtempSync(path.join(this.#directory, "child-")),
      execArgv: ["--max-semi-space-size=8"],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    const ended: Ended = { at: task.from, detail: "" };
    let since = Date.now();
    let used: number | undefined;
    let printed = "";
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (bytes) => {
        printed = (printed + bytes).slice(-2000);
      });
    const stop = (reason: Ended["reason"]) => {
      ended.reason ??= reason;
      child.kill("SIGKILL");
    };
    const watch = setInterval(() => {
      const computed = used === undefined ? 0 : cpuMilliseconds(child) - used;
      if (Date.now() - since > MOST_WAITING || computed > MOST_MILLISECONDS + 500) stop("hang");
      if (residentBytes(child) > STOP_BYTES) stop("memory");
    }, 200);
    let isFirst = true;
    child.on("message", (message: Begun | Tried) => {
      since = Date.now();
      // Known while a file is tried, not while the next one is made.
      used = message.format === undefined ? cpuMilliseconds(child) : undefined;
      if (message.format === undefined) return;
      isFirst = false;
      ended.last = message;
      ended.at = message.number + 1;
      if (!take(message)) child.kill("SIGKILL");
    });
    child.send(task);
    return new Promise((resolve) => {
      child.on("close", (code, signal) => {
        clearInterval(watch);
        const isWhole = ended.at >= task.to || (ended.last && signal === "SIGKILL" && !ended.reason);
        if (!isWhole) ended.reason ??= "ended";
        ended.detail = `code ${code}, signal ${signal}${isFirst ? ", at its first file" : ""}: ${printed.trim()}`;
        if (ended.reason === undefined && printed.trim() !== "" && ended.last)
          this.#find(
            ended.last.number,
            `printed by a library at or before this file: ${printed.trim()}`,
            aboutOf(ended.last),
          );
        resolve(ended);
      });
    });
  }

  #report(seconds: number): boolean {
    const of = (format: Format, outcome: string) => this.#counts.get(`${format} ${outcome}`) ?? 0;
    for (const format of FORMATS) {
      const [read, refused, failed] = ["read", "refused", "failed"].map((outcome) => of(format, outcome));
      if (read! + refused! + failed! > 0)
        console.log(`${format}: ${read} read, ${refused} refused, ${failed} failed`);
    }
    for (const [kind, finds] of this.#finds)
      console.log(
        `${finds.length} × ${kind} (${finds
          .slice(0, 12)
          .map(({ number }) => number)
          .join(", ")})`,
      );
    const count = (pattern: RegExp, isOf = true) =>
      [...this.#finds].reduce((n, [kind, finds]) => (pattern.test(kind) === isOf ? n + finds.length : n), 0);
    const [hangs, peaks] = [count(/^more than # s/), count(/^more than # GB/)];
    const others = count(/^more than # (s|GB)/, false);
    const most = `${(this.#longest / 1000).toFixed(1)} s, ${Math.round(this.#highest / 1e6)} MB at most`;
    console.log(
      `${this.#done} files in ${seconds} s: ${others} untyped errors and other faults, ${hangs} hangs over 10 s, ${peaks} peaks over 1 GB (${most})`,
    );
    return hangs + peaks + others === 0;
  }
}

/** CPU time of a process on Linux; 0 elsewhere, where hangs end after `MOST_WAITING`. */
function cpuMilliseconds(child: ChildProcess): number {
  try {
    const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    // In hundredths of a second, of user and system.
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return 0;
  }
}

function residentBytes(child: ChildProcess): number {
  try {
    const pages = Number(readFileSync(`/proc/${child.pid}/statm`, "utf8").split(" ")[1]);
    return pages * 4096;
  } catch {
    // Not Linux, or the process has ended.
    return 0;
  }
}

function aboutOf({
  number,
  format,
  seed,
  operation,
}: Pick<Tried, "number" | "format" | "seed" | "operation">): string {
  return `file ${number}, ${format}, seed ${seed}: ${operation}`;
}
