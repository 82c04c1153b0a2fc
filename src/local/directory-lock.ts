import { randomUUID } from "node:crypto";
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { OutputError } from "./errors.ts";

/**
 * Name of the lock file. One process at a time works in a directory.
 *
 * Written by hand: proper-lockfile marks locks by their modification time, which a suspended process cannot keep up;
 * this lock names the process and the host that hold it, and is free when that process is gone.
 */
export const LOCK = "lock";

/** Another process works in the directory. */
export class DirectoryLockedError extends OutputError {
  override readonly name = "DirectoryLockedError";
}

const held = new Set<string>();

/**
 * Checks that no other process works in the directory. Locks of dead processes are ignored. @throws
 * {DirectoryLockedError}
 */
export function assertUnlocked(work: string): void {
  const owner = readLockHolder(work);
  if (!owner) return;
  const file = join(work, LOCK);
  throw new DirectoryLockedError(
    owner.elsewhere
      ? `process ${owner.pid} on ${owner.host} is working in this directory: wait for it or choose another --out; if it is gone, remove ${file}`
      : `process ${owner.pid} is working in this directory: wait for it or choose another --out`,
  );
}

export function acquireLock(work: string): void {
  const file = join(work, LOCK);
  // Written first and then linked, so that no process reads a lock without its owner.
  const own = join(work, `${LOCK}-${randomUUID()}`);
  writeFileSync(own, JSON.stringify({ pid: process.pid, host: hostname() }));
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      assertUnlocked(work);
      try {
        linkSync(own, file);
        held.add(resolve(work));
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        assertUnlocked(work);
        rmSync(file, { force: true });
      }
    }
    throw new OutputError(`${file} cannot be acquired: another run is starting in the same directory`);
  } finally {
    rmSync(own, { force: true });
  }
}

/** Removes the lock. @returns whether this process held it */
export function releaseLock(work: string): boolean {
  if (!held.delete(resolve(work))) return false;
  rmSync(join(work, LOCK), { force: true });
  return true;
}

export interface Holder {
  pid: number;
  host: string;
  /** Whether the process is on another machine, where its state is unknown. */
  elsewhere: boolean;
}

/** The process that holds the lock, if it may still run. */
export function readLockHolder(work: string): Holder | undefined {
  const file = join(work, LOCK);
  const text = existsSync(file) ? readFileSync(file, "utf8") : "{}";
  const { pid, host } = JSON.parse(text) as { pid?: number; host?: string };
  if (pid === undefined || host === undefined) return undefined;
  const elsewhere = host !== hostname();
  const here = pid === process.pid ? held.has(resolve(work)) : isRunning(pid);
  return elsewhere || here ? { pid, host, elsewhere } : undefined;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
