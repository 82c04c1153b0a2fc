import type { ChildGuard } from "./child-guard.ts";

export interface RuntimeWatchOptions {
  /** Address of workerd itself, not of the proxy. */
  target: URL;
  guard: Pick<ChildGuard, "pids">;
  log?: (line: string) => void;
  /** A runtime that does not respond for this long is ended; default five minutes. */
  hungMs?: number;
}

/** One inference of a large 3-D network blocks it for long. */
const HUNG_MS = 300_000;

/**
 * Ends a workerd that stops responding, for instance because a Worker loops forever. Miniflare restarts it, and the job's
 * ledger counts how often a task caused that. @returns a function that ends the watch
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
      // A refused connection counts as no response.
    } finally {
      asking = false;
    }
  };
  let lookedAt = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    // This process itself was suspended: the silence is its own.
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
