import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { acquireLock, type Holder, readLockHolder, releaseLock } from "../local/directory-lock.ts";
import { OutputError } from "../local/errors.ts";
import { checkOutPath } from "../local/run-directory.ts";
import { type CohortSnapshot, parseSnapshot } from "./cohort-snapshot.ts";
import { syncDirectory } from "./journal.ts";

const SNAPSHOT = "cohort.json";
const CANCEL = "cancel";

/** A cohort's directory: its state and tables. */
export class CohortDirectory {
  readonly path: string;
  readonly journal: string;
  readonly snapshotFile: string;

  constructor(path: string) {
    this.path = path;
    this.journal = join(path, "journal.jsonl");
    this.snapshotFile = join(path, SNAPSHOT);
  }

  /** A new directory must be empty or absent: tables never mix with other files. */
  assertEmptyOrCohort(): void {
    checkOutPath(this.path);
    if (!existsSync(this.path)) return;
    if (!statSync(this.path).isDirectory())
      throw new OutputError(`${this.path} is a file: --out must name a directory`);
    if (existsSync(this.snapshotFile)) return;
    const other = readdirSync(this.path).filter((name) => !OWN_FILES.test(name));
    if (other.length > 0)
      throw new OutputError(`${this.path} holds other things: choose a directory of its own`);
  }

  /**
   * Asserts that the directory's cohort runs on this server.
   * @param place address of the service; undefined for this machine
   * @returns the snapshot in the directory, if there is one
   */
  assertSameServer(place: string | undefined): CohortSnapshot | undefined {
    const before = existsSync(this.snapshotFile) ? this.read() : undefined;
    if (!before || before.service?.url === place) return before;
    const where = before.service ? `the service ${before.service.url}` : "this machine";
    const how = before.service ? `--server ${before.service.url}` : "no --server";
    throw new OutputError(
      `${this.path} holds a cohort of ${where}: continue with ${how}, or choose another --out`,
    );
  }

  /** Locks the directory: one run at a time. */
  lock(): void {
    mkdirSync(this.path, { recursive: true });
    acquireLock(this.path);
    rmSync(join(this.path, CANCEL), { force: true });
  }

  unlock(): void {
    releaseLock(this.path);
    rmSync(join(this.path, CANCEL), { force: true });
  }

  holder(): Holder | undefined {
    return readLockHolder(this.path);
  }

  requestStop(): void {
    writeFileAtomic(join(this.path, CANCEL), "");
  }

  isStopRequested(): boolean {
    return existsSync(join(this.path, CANCEL));
  }

  read(): CohortSnapshot {
    if (!existsSync(this.snapshotFile)) {
      throw new OutputError(`${this.path} holds no cohort: begin one with cohort run --out ${this.path}`);
    }
    try {
      return parseSnapshot(readFileSync(this.snapshotFile, "utf8"));
    } catch (cause) {
      throw new OutputError(`${this.snapshotFile} is damaged: repeat the command that began the cohort`, {
        cause,
      });
    }
  }

  /** Readable by its owner only: addresses may be signed. */
  write(snapshot: CohortSnapshot): void {
    writeFileAtomic(this.snapshotFile, JSON.stringify(snapshot), 0o600);
  }
}

const OWN_FILES = /^(lock.*|cancel|journal\.jsonl|jobs|objects|scans|cohort\..*|report\.html|.*\.partial)$/;

/** Replaces a file atomically: readers see the old file or the new one, even after a power failure. */
export function writeFileAtomic(file: string, content: string | Uint8Array, mode = 0o644): void {
  const temporary = `${file}.partial`;
  const fd = openSync(temporary, "w", mode);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
  syncDirectory(dirname(file));
}
