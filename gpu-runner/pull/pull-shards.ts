import pLimit from "p-limit";
import type { Logger } from "pino";
import * as z from "zod";
import { RemoteError } from "../../src/inference/errors.ts";
import { consumeTask } from "../../src/service/consume-task.ts";
import { pause } from "../../src/storage/retry.ts";
import type { PulledMessage, QueueClient, Settlement } from "./queue-client.ts";
import type { ShardWorker } from "./shard-worker.ts";
import type { WorkClient } from "./work-client.ts";

export interface PullOptions {
  queue: QueueClient;
  work: WorkClient;
  worker: ShardWorker;
  /** Concurrent shards. */
  shards: number;
  /** Longer than a shard takes. After it the message is delivered again, and the first result counts. */
  leaseMs?: number;
  /** Interval of heartbeats, without which the job's watchdog sends the shard again. */
  heartbeatMs?: number;
  /** Shutdown timeout. */
  drainMs: number;
  log: Logger;
  /** Called after each finished shard. */
  onShard?: (windows: number) => void;
  /** Called with the length of the queue whenever it is reported. */
  onBacklog?: (messages: number) => void;
}

const LEASE_MS = 15 * 60_000;
const HEARTBEAT_MS = 30_000;
/** Polling interval of an idle queue: it doubles up to `LONGEST_POLL_MS`. */
const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 10_000;
/** Time for the pull in progress at shutdown: the messages it leases are returned, instead of blocked until their lease ends. */
const LAST_PULL_MS = 5000;
/** Acknowledgements are collected for this long: one call for each would double the cost of the queue. */
const SETTLE_MS = 250;

const messageSchema = z.object({
  job: z.string().regex(/^[0-9a-f]{32}$/),
  shard: z.int().nonnegative(),
});

/**
 * Pulls shards from a queue and runs them until `stop` is aborted. Then running shards finish, and leased messages that
 * have not started are returned. Errors of a shard never end the loop.
 *
 * The loop counts its shards by itself: each pull asks for as many messages as slots are free, which p-limit does not
 * report by an event.
 */
export async function pullShards(options: PullOptions, stop: AbortSignal): Promise<void> {
  const { queue, shards, log, leaseMs = LEASE_MS, drainMs, onBacklog } = options;
  const active = new Set<Promise<void>>();
  const abandon = new AbortController();
  const settlements = new Settlements(queue, log);
  const lastPull = new AbortController();
  const timers: ReturnType<typeof setTimeout>[] = [];
  const drain = () => {
    const reason = new DOMException("the runner is shutting down", "AbortError");
    // Before the end of the timeout, so that unfinished messages can still be returned.
    const enough = 0.9 * drainMs;
    timers.push(
      setTimeout(() => lastPull.abort(reason), Math.min(LAST_PULL_MS, enough)),
      setTimeout(() => abandon.abort(reason), enough),
    );
  };
  stop.addEventListener("abort", drain, { once: true });
  let pollMs = FIRST_POLL_MS;
  while (!stop.aborted) {
    if (active.size >= shards) {
      await waitForAny(active, stop);
      continue;
    }
    let messages: PulledMessage[] = [];
    try {
      const pulled = await queue.pull(shards - active.size, leaseMs, lastPull.signal);
      messages = pulled.messages;
      if (pulled.backlog !== undefined) onBacklog?.(pulled.backlog);
    } catch (error) {
      if (stop.aborted) break;
      log.warn({ err: error }, "pulling from the queue failed; trying again");
      const { retryable = false, retryAfterMs = 0 } = error instanceof RemoteError ? error : {};
      // Errors such as a wrong token do not go away within half a second.
      pollMs = retryable ? Math.max(pollMs, retryAfterMs) : LONGEST_POLL_MS;
    }
    if (stop.aborted) {
      for (const { lease } of messages) settlements.retry(lease, 0);
      break;
    }
    if (messages.length === 0) {
      await Promise.race([pause(pollMs * (0.75 + Math.random() / 2), stop).catch(() => {}), ...active]);
      pollMs = Math.min(LONGEST_POLL_MS, pollMs * 2);
      continue;
    }
    pollMs = FIRST_POLL_MS;
    for (const message of messages) {
      const task: Promise<void> = handle(message, options, settlements, abandon.signal).finally(() =>
        active.delete(task),
      );
      active.add(task);
    }
  }
  await Promise.all(active);
  for (const timer of timers) clearTimeout(timer);
  await settlements.flush();
}

async function handle(
  { body, attempts, lease }: PulledMessage,
  { work, worker, log, heartbeatMs = HEARTBEAT_MS, onShard }: PullOptions,
  settlements: Settlements,
  signal: AbortSignal,
): Promise<void> {
  const parsed = messageSchema.safeParse(body);
  if (!parsed.success) {
    // Returned until the queue moves it to the dead-letter queue.
    log.error("a message on the queue is not a shard");
    return settlements.retry(lease, 60);
  }
  const { job, shard } = parsed.data;
  const entry = log.child({ job, shard });
  const heartbeat = setInterval(() => {
    work.report(job, shard, { event: "alive" }, signal).catch(() => {});
  }, heartbeatMs);
  const message = {
    attempts,
    ack: () => settlements.ack(lease),
    retry: ({ delaySeconds }: { delaySeconds: number }) => settlements.retry(lease, delaySeconds),
  };
  const ledger = {
    claim: async () =>
      (await work.report(job, shard, { event: "take" }, signal)) ? ("run" as const) : ("skip" as const),
    done: async (report: Awaited<ReturnType<ShardWorker["run"]>>) => {
      await work.report(job, shard, { event: "done", report }, signal);
      entry.info(
        { windows: report.windows, milliseconds: Math.round(report.modelMilliseconds!) },
        "a shard is done",
      );
      onShard?.(report.windows);
    },
    recordFailedAttempt: async (reason: string) => {
      await work.report(job, shard, { event: "tried", message: reason });
    },
    fail: async (code: string, reason: string) => {
      entry.error({ code }, "a job ends");
      await work.report(job, shard, { event: "failed", code, message: reason });
    },
  };
  try {
    await consumeTask(message, ledger, () => worker.run(job, shard, signal), {
      log: (id, error) => entry.warn({ id, attempts, ...loggable(error) }, "a shard failed"),
    });
  } catch (error) {
    // The ledger cannot be reached, or the job does not exist any more.
    const gone = error instanceof RemoteError && error.status === 404;
    if (!gone) entry.warn({ err: error }, "reporting to the job service failed");
    if (gone) settlements.ack(lease);
    else settlements.retry(lease, signal.aborted ? 0 : 10);
  } finally {
    clearInterval(heartbeat);
  }
}

/** Errors of readers and stores name files, which may contain names of patients: only their class is logged. */
function loggable(error: unknown): Record<string, unknown> {
  const { name } = error as Error;
  return /^(Image|Object|Storage)/.test(name ?? "") ? { error: name } : { err: error };
}

/** Acknowledges several messages in one call. If a call fails, the messages are delivered again after their lease. */
class Settlements {
  readonly #queue: QueueClient;
  readonly #log: Logger;
  #waiting: Settlement = { acks: [], retries: [] };
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #mutex = pLimit(1);

  constructor(queue: QueueClient, log: Logger) {
    this.#queue = queue;
    this.#log = log;
  }

  ack(lease: string): void {
    this.#waiting.acks.push(lease);
    this.#soon();
  }

  retry(lease: string, delaySeconds: number): void {
    this.#waiting.retries.push({ lease, delaySeconds });
    this.#soon();
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => void this.flush(), SETTLE_MS);
  }

  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const settlement = this.#waiting;
    this.#waiting = { acks: [], retries: [] };
    return this.#mutex(() =>
      this.#queue
        .settle(settlement)
        .catch((error) =>
          this.#log.warn(
            { err: error },
            "acknowledging messages failed; they are delivered again after their lease",
          ),
        ),
    );
  }
}

/** Settles when a task ends or `stop` is aborted; leaves no listener behind. */
function waitForAny(tasks: ReadonlySet<Promise<void>>, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      stop.removeEventListener("abort", over);
      resolve();
    };
    if (stop.aborted) return resolve();
    stop.addEventListener("abort", over);
    for (const task of tasks) task.then(over, over);
  });
}
