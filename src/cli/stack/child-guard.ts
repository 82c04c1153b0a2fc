import { type ChildProcess, spawn } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { basename } from "node:path";

export interface ChildGuard {
  /** Ids of the child processes that run. */
  pids(): number[];
  /** Ends the guard; the processes are left alone. */
  close(): void;
}

/** A shell program: reads lists of process ids line by line; when its pipe closes, it ends those of the last list. */
const WATCHDOG = 'last=; while read -r list; do last=$list; done; [ -n "$last" ] && kill -9 $last';

/**
 * Ends child processes with this name when this process ends, even by SIGKILL: a shell reads from a pipe, and the system
 * closes the pipe. Does nothing on Windows, which has no such shell.
 */
export function guardChildren(name: string, onChange: (pids: number[]) => void = () => {}): ChildGuard {
  const children = new Set<ChildProcess>();
  const pids = () => [...children].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  // Detached: a signal to the whole process group, as from a terminal, must not end the guard first.
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
