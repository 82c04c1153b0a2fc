import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { acquireLock, DirectoryLockedError, releaseLock } from "../../local/directory-lock.ts";
import { JobError } from "../../orchestrator/errors.ts";

/** What a running stack says of itself in its state directory. */
interface Running {
  pid: number;
  /** Not known while it starts. */
  url?: string;
  /** Processes of workerd. */
  runtime?: number[];
}

export interface StackState {
  note(running: Omit<Running, "pid">): void;
  release(): void;
}

/**
 * One stack at a time works on a state directory. What a stack before left running, though it is gone itself, is ended.
 * @throws {JobError} with process and address of the one that runs
 */
export function takeState(directory: string, log: (line: string) => void): StackState {
  // Slides and results of patients: of no other user's business.
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, "running.json");
  const before = read(file);
  try {
    acquireLock(directory);
  } catch (error) {
    if (!(error instanceof DirectoryLockedError)) throw error;
    const where = before?.url ? ` at ${before.url}` : "";
    throw new JobError(
      `tilewright up runs on this state directory already (process ${before?.pid ?? "unknown"}${where}): use that one, stop it first, or choose another --data-dir`,
      { cause: error },
    );
  }
  for (const pid of before?.runtime ?? []) {
    if (commandOf(pid) !== "workerd") continue;
    process.kill(pid, "SIGKILL");
    log(`ended workerd (process ${pid}), which a tilewright up before this one left behind`);
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
    // None, or one that was cut off while it was written: the lock decides.
    return undefined;
  }
}

/** A number alone may be of another process by now. */
function commandOf(pid: number): string | undefined {
  try {
    // Where there is no ps, as in small containers.
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
