import type { ChildGuard } from "./child-guard.ts";

export interface RuntimeWatchOptions {
  /** Of workerd itself, not of the door. */
  target: URL;
  guard: Pick<ChildGuard, "pids">;
  log?: (line: string) => void;
  /** After which a runtime that answers nothing is ended; default five minutes. */
  hungMs?: number;
}

/** One run of a large network in three dimensions keeps it silent for long. */
const HUNG_MS = 300_000;

/**
 * Ends a workerd that answers nothing any more, as one whose Worker never comes back from a loop: Miniflare starts it
 * again, and the ledger of the job counts how often a task did that. @returns what ends the watch
 */
export function watchRuntime({ target, guard, log, hungMs = HUNG_MS }: RuntimeWatchOptions): () => void {
  let answeredAt = performance.now();
  let asking = false;
  const everyMs = Math.min(5000, hungMs / 4);
  const look = async () => {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(new URL("/healthz", target), { signal: AbortSignal.timeout(hungMs) });
      await response.body?.cancel();
      answeredAt = performance.now();
    } catch {
      // Nobody there is as silent as one that hangs.
    } finally {
      asking = false;
    }
  };
  let lookedAt = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    // This process itself stood still: what it did not hear meanwhile is nobody's silence.
    if (now - lookedAt > 2 * everyMs) answeredAt = now;
    lookedAt = now;
    void look();
    const silent = now - answeredAt;
    if (silent < hungMs) return;
    answeredAt = performance.now();
    for (const pid of guard.pids()) {
      log?.(
        `workerd (process ${pid}) has not answered for ${Math.round(silent / 1000)} s: it is ended and started again`,
      );
      process.kill(pid, "SIGKILL");
    }
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
