import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { acquireLock, DirectoryLockedError, releaseLock } from "../../local/directory-lock.ts";
import { JobError } from "../../orchestrator/errors.ts";

/** The file in which a running stack describes itself, in its data directory. */
interface Running {
  pid: number;
  /** Unknown while the stack starts. */
  url?: string;
  /** Process ids of workerd. */
  runtime?: number[];
}

export interface StackState {
  note(running: Omit<Running, "pid">): void;
  release(): void;
}

/**
 * Locks a data directory for one stack, and ends the workerd that a killed stack left running.
 * @throws {JobError} with process and address of the stack that holds the lock
 */
export function takeState(directory: string, log: (line: string) => void): StackState {
  // Slides and results of patients: readable by this user only.
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, "running.json");
  const before = read(file);
  try {
    acquireLock(directory);
  } catch (error) {
    if (!(error instanceof DirectoryLockedError)) throw error;
    const where = before?.url ? ` at ${before.url}` : "";
    throw new JobError(
      `tilewright up already runs on this data directory (process ${before?.pid ?? "unknown"}${where}): use that one, stop it first, or choose another --data-dir`,
      { cause: error },
    );
  }
  for (const pid of before?.runtime ?? []) {
    if (readCommandLine(pid) !== "workerd") continue;
    process.kill(pid, "SIGKILL");
    log(`ended workerd (process ${pid}), left behind by an earlier tilewright up`);
  }
  let running: Running = { pid: process.pid };
  const note: StackState["note"] = (more) => {
    running = { ...running, ...more };
    writeFileSync(file, `${JSON.stringify(running)}\n`, { mode: 0o600 });
  };
  note({});
  return {
    note,
    release: () => {
      note({ url: undefined, runtime: [] });
      releaseLock(directory);
    },
  };
}

function read(file: string): Running | undefined {
  try {
    const { pid, url, runtime } = JSON.parse(readFileSync(file, "utf8")) as Partial<Running>;
    if (!Number.isSafeInteger(pid)) return undefined;
    const pids = Array.isArray(runtime) ? runtime.filter((n) => Number.isSafeInteger(n) && n > 1) : [];
    return { pid: pid!, url: typeof url === "string" ? url : undefined, runtime: pids };
  } catch {
    // Missing, or cut off while it was written: the lock decides.
    return undefined;
  }
}

/** Command line of a process: its id alone may belong to another process by now. */
function readCommandLine(pid: number): string | undefined {
  try {
    // No ps, as in small containers.
    if (existsSync("/proc/self/comm")) return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    const text = execFileSync("ps", ["-o", "comm=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return basename(text.trim());
  } catch {
    return undefined;
  }
}
