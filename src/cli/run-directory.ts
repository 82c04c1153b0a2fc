import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { TEMPORARY_PREFIX } from "../storage/fs-store.ts";
import { OutputError } from "./exit-codes.ts";

const WORK = ".tilewright";
const FINISHED = "run.json";

/**
 * The output directory of a run. Work lies in a hidden directory until the run is complete; finished outputs get
 * their names by renaming, `run.json` last: its presence is what makes a run finished.
 */
export class RunDirectory {
  readonly path: string;
  readonly work: string;
  /** The job whose unfinished work is in the directory. */
  readonly resuming: boolean;

  private constructor(path: string, resuming: boolean) {
    this.path = path;
    this.work = join(path, WORK);
    this.resuming = resuming;
  }

  /** The manifest of a finished run in the directory, or undefined. */
  static finishedRun(path: string): string | undefined {
    const file = join(path, FINISHED);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }

  static open(path: string, job: string, options: { resume?: boolean; force?: boolean }): RunDirectory {
    if (existsSync(path) && !statSync(path).isDirectory()) {
      throw new OutputError(`${path} is a file: --out must name a directory`);
    }
    if (existsSync(join(path, FINISHED)) && !options.force) {
      throw new OutputError(`${path} holds a finished run: choose another --out, or --force to replace it`);
    }
    const work = join(path, WORK);
    const jobFile = join(work, "job");
    if (existsSync(work)) lock(work);
    let resuming = false;
    if (existsSync(jobFile)) {
      const there = readFileSync(jobFile, "utf8");
      if (options.resume) {
        if (there !== job) {
          unlock(work);
          throw new OutputError(
            `${path} holds unfinished work of another source, model or settings: repeat the command that began it, or use --force to start over`,
          );
        }
        sweep(work);
        resuming = true;
      } else if (!options.force) {
        unlock(work);
        throw new OutputError(`${path} holds an unfinished run: --resume continues it, --force starts over`);
      }
    }
    if (!resuming) {
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work, { recursive: true });
      lock(work);
      writeFileSync(jobFile, job);
    }
    return new RunDirectory(path, resuming);
  }

  /** Gives finished outputs their final names, the manifest last. */
  publish(names: readonly string[], manifest: string): void {
    rmSync(join(this.path, FINISHED), { force: true });
    for (const name of names) {
      const to = join(this.path, name);
      rmSync(to, { recursive: true, force: true });
      renameSync(join(this.work, name), to);
    }
    const temporary = join(this.work, FINISHED);
    writeFileSync(temporary, manifest);
    renameSync(temporary, join(this.path, FINISHED));
    rmSync(this.work, { recursive: true, force: true });
  }

  /** Leaves the work for a later `--resume`. */
  release(): void {
    unlock(this.work);
  }
}

/** One process at a time: two would write over each other's work. A lock of a dead process is taken over. */
function lock(work: string): void {
  const file = join(work, "lock");
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const fd = openSync(file, "wx");
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const pid = Number(readFileSync(file, "utf8"));
      if (pid > 0 && pid !== process.pid && isRunning(pid)) {
        throw new OutputError(
          `process ${pid} is working in this directory: wait for it or choose another --out`,
        );
      }
      rmSync(file, { force: true });
    }
  }
}

/** What a killed process was just writing would otherwise be published with the rest. */
function sweep(work: string): void {
  for (const entry of readdirSync(work, { recursive: true, withFileTypes: true })) {
    if (entry.name.startsWith(TEMPORARY_PREFIX) || entry.name.endsWith(".partial")) {
      rmSync(join(entry.parentPath, entry.name), { force: true });
    }
  }
}

function unlock(work: string): void {
  rmSync(join(work, "lock"), { force: true });
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
