import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { OUTPUTS } from "../image/output-targets.ts";
import { TEMPORARY_PREFIX } from "../storage/fs-store.ts";
import { acquireLock, assertUnlocked, LOCK, releaseLock } from "./directory-lock.ts";
import { OutputError } from "./errors.ts";

const WORK_DIRECTORY = ".tilewright";
const MANIFEST_FILE = "run.json";
/** Files in the work directory: the id of its job, and the list of a publishing in progress. */
const JOB_FILE = "job";
const PUBLISHING_FILE = "publishing.json";

export interface OpenFlags {
  resume?: boolean;
  force?: boolean;
}

/**
 * The output directory of a run. Work stays in a hidden directory until the run is complete. Publishing renames the
 * outputs, `run.json` last: a run is finished if `run.json` exists. An interrupted publishing is completed when the
 * directory is opened next.
 */
export class RunDirectory {
  readonly path: string;
  readonly work: string;
  /** Whether work of the same job exists and is continued. */
  readonly resuming: boolean;
  readonly #force: boolean;

  private constructor(path: string, resuming: boolean, force = false) {
    this.path = path;
    this.work = join(path, WORK_DIRECTORY);
    this.resuming = resuming;
    this.#force = force;
  }

  /** Checks before anything is read that the path is writable and holds nothing else. @throws {OutputError} */
  static check(path: string, { resume, force }: OpenFlags): void {
    checkOutPath(path);
    if (existsSync(path) && !statSync(path).isDirectory()) {
      throw new OutputError(`${path} is a file: --out must name a directory`);
    }
    if (!existsSync(path) && isThere(path)) {
      throw new OutputError(`${path} is a broken link: create its target or choose another --out`);
    }
    let existing = resolve(path);
    while (!existsSync(existing)) existing = dirname(existing);
    if (!statSync(existing).isDirectory()) {
      throw new OutputError(`${path}: a part of the path is a file, not a directory`);
    }
    try {
      accessSync(existing, constants.W_OK);
    } catch {
      throw new OutputError(`${existing} cannot be written: choose another --out`);
    }
    const work = join(path, WORK_DIRECTORY);
    if (isThere(work) && !statSync(work, { throwIfNoEntry: false })?.isDirectory()) {
      throw new OutputError(
        `${work} is not a directory, and runs keep their work there: move it or choose another --out`,
      );
    }
    assertUnlocked(work);
    if (force) return;
    refuseForeign(path);
    if (resume) return;
    if (existsSync(join(path, MANIFEST_FILE))) {
      throw new OutputError(`${path} holds a finished run: choose another --out, or --force to replace it`);
    }
    if (existsSync(join(path, WORK_DIRECTORY, JOB_FILE))) {
      throw new OutputError(`${path} holds an unfinished run: --resume continues it, --force starts over`);
    }
  }

  /**
   * Opens the directory for a job.
   * @returns the manifest as a string if `resume` is set and the same job is finished already
   */
  static open(path: string, job: string, { resume, force }: OpenFlags): RunDirectory | string {
    const work = join(path, WORK_DIRECTORY);
    mkdirSync(work, { recursive: true });
    acquireLock(work);
    try {
      completePublishing(path);
      if (!force) refuseForeign(path);
      const started = read(join(work, JOB_FILE));
      if (started === job && resume) {
        sweep(work);
        return new RunDirectory(path, true, force);
      }
      if (started !== undefined && !force) {
        throw new OutputError(
          `${path} holds unfinished work of another source, model or settings: repeat the command that started it, or use --force to start over`,
        );
      }
      const finished = read(join(path, MANIFEST_FILE));
      if (finished !== undefined && resume && (JSON.parse(finished) as { job?: string }).job === job) {
        leave(work);
        return finished;
      }
      if (finished !== undefined && !force) {
        throw new OutputError(
          `${path} holds a finished run of another source, model or settings: choose another --out, or --force to replace it`,
        );
      }
    } catch (error) {
      leave(work);
      throw error;
    }
    clear(work);
    writeFileSync(join(work, JOB_FILE), job);
    return new RunDirectory(path, false, force);
  }

  /**
   * Gives finished outputs their final names, the manifest last, and removes those of an earlier run.
   * @throws {OutputError} if a file that no run wrote has one of the names; the work is kept
   */
  publish(names: readonly string[], manifest: string): void {
    if (!this.#force) refuseForeign(this.path);
    const earlier = outputsOfRun(this.path);
    const temporary = join(this.work, `${PUBLISHING_FILE}.partial`);
    writeFileSync(temporary, JSON.stringify({ names, earlier, manifest }), { flush: true });
    renameSync(temporary, join(this.work, PUBLISHING_FILE));
    completePublishing(this.path);
  }

  /** Removes the directory of a job that failed before it did any work. */
  discard(): void {
    if (!this.resuming) clear(this.work);
  }

  /** Releases the lock and keeps the work for a later `--resume`. */
  release(): void {
    leave(this.work);
  }
}

/** Checks that `--out` is a directory of this machine. @throws {OutputError} */
export function checkOutPath(path: string): void {
  if (path.trim() === "") throw new OutputError("--out is empty: name a directory for the results");
  const [, scheme] = /^([a-z][a-z0-9+.-]+):\/\//i.exec(path) ?? [];
  if (scheme) {
    throw new OutputError(
      `--out ${path}: results are written to a directory of this machine, not to ${scheme}://; a job service writes to its bucket`,
    );
  }
}

/** Names of the outputs that the finished run in a directory wrote. */
function outputsOfRun(path: string): string[] {
  const finished = read(join(path, MANIFEST_FILE));
  if (finished === undefined) return [];
  try {
    const { outputs } = JSON.parse(finished) as { outputs: { name: string }[] };
    return outputs.map(({ name }) => name).filter((name) => OUTPUTS.some((output) => output === name));
  } catch {
    return [];
  }
}

/** Rejects files with names of outputs that no run wrote, unless forced. */
function refuseForeign(path: string): void {
  // An interrupted publishing has written some of them and is completed first.
  if (existsSync(join(path, WORK_DIRECTORY, PUBLISHING_FILE))) return;
  const ours = new Set(outputsOfRun(path));
  const foreign = [...OUTPUTS, MANIFEST_FILE].filter(
    (name) => !ours.has(name) && isThere(join(path, name)) && !(name === MANIFEST_FILE && isRun(path)),
  );
  if (foreign.length === 0) return;
  throw new OutputError(
    `${path} holds ${foreign.join(", ")}, which no run wrote: choose another --out, or --force to replace ${foreign.length === 1 ? "it" : "them"}`,
  );
}

/** Whether a path exists, broken links included, such as to a disk that is not mounted. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isRun(path: string): boolean {
  try {
    const { job, outputs } = JSON.parse(read(join(path, MANIFEST_FILE))!) as {
      job: unknown;
      outputs: unknown;
    };
    return typeof job === "string" && Array.isArray(outputs);
  } catch {
    return false;
  }
}

/** Completes a publishing. Every step is idempotent, so a crash between two of them loses nothing. */
function completePublishing(path: string): void {
  const work = join(path, WORK_DIRECTORY);
  const publishing = read(join(work, PUBLISHING_FILE));
  if (publishing === undefined) return;
  const {
    names,
    earlier = [],
    manifest,
  } = JSON.parse(publishing) as {
    names: string[];
    earlier?: string[];
    manifest: string;
  };
  rmSync(join(path, MANIFEST_FILE), { force: true });
  for (const name of earlier) {
    if (!names.includes(name)) rmSync(join(path, name), { recursive: true, force: true });
  }
  for (const name of names) {
    if (!existsSync(join(work, name))) continue;
    rmSync(join(path, name), { recursive: true, force: true });
    renameSync(join(work, name), join(path, name));
  }
  const temporary = join(work, MANIFEST_FILE);
  writeFileSync(temporary, manifest, { flush: true });
  renameSync(temporary, join(path, MANIFEST_FILE));
  clear(work);
}

/** Removes everything but the lock. */
function clear(work: string): void {
  for (const name of readdirSync(work)) {
    if (name !== LOCK) rmSync(join(work, name), { recursive: true, force: true });
  }
}

function read(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/** Releases the lock, and removes the directory if it is empty. */
function leave(work: string): void {
  if (!releaseLock(work)) return;
  for (const directory of [work, dirname(work)]) {
    if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory);
  }
}

/** Removes partial files of a killed process, which would otherwise be published. */
function sweep(work: string): void {
  for (const entry of readdirSync(work, { recursive: true, withFileTypes: true })) {
    if (entry.name.startsWith(TEMPORARY_PREFIX) || entry.name.endsWith(".partial")) {
      rmSync(join(entry.parentPath, entry.name), { force: true });
    }
  }
}
