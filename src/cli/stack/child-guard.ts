import { type ChildProcess, spawn } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { basename } from "node:path";

export interface ChildGuard {
  /** Those that run. */
  pids(): number[];
  /** Ends the guard; the processes are left alone. */
  close(): void;
}

/** Reads lists of processes line by line; when the pipe closes, it ends those of the last one. */
const WATCHDOG = 'last=; while read -r list; do last=$list; done; [ -n "$last" ] && kill -9 $last';

/**
 * From now on, programs of this name that this process starts end with it, also where SIGKILL ends it: a shell of its own
 * reads from a pipe that closes then. Not on Windows, which has no such shell.
 */
export function guardChildren(name: string, onChange: (pids: number[]) => void = () => {}): ChildGuard {
  const children = new Set<ChildProcess>();
  const pids = () => [...children].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  // Detached: what ends a whole group of processes, as a terminal does, must not end the guard first.
  const watchdog =
    process.platform === "win32"
      ? undefined
      : spawn("/bin/sh", ["-c", WATCHDOG], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  watchdog?.on("error", () => {});
  watchdog?.stdin?.on("error", () => {});
  watchdog?.unref();
  (watchdog?.stdin as { unref?: () => void } | undefined)?.unref?.();
  const tell = () => {
    watchdog?.stdin?.write(`${pids().join(" ")}\n`);
    onChange(pids());
  };
  const onChild = (message: unknown) => {
    const { process: child } = message as { process: ChildProcess };
    child.once("spawn", () => {
      if (!basename(child.spawnfile).startsWith(name)) return;
      children.add(child);
      tell();
    });
    child.once("exit", () => {
      if (children.delete(child)) tell();
    });
  };
  subscribe("child_process", onChild);
  return {
    pids,
    close: () => {
      unsubscribe("child_process", onChild);
      children.clear();
      tell();
      watchdog?.stdin?.end();
    },
  };
}
