import type { Bindings } from "../../src/edge/jobs/context/bindings.ts";
import type { Ledger } from "../../src/edge/shared/ledger-port.ts";
import type { LoadedWorkers } from "./load-workers.ts";
import type { Platform } from "./platform.ts";
import { SqlStorage } from "./sql-storage.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Period over which the rows of a ledger are counted for its rate. */
const RATE_MS = 10_000;
/** Delay before a failed alarm is retried. */
const ALARM_RETRY_MS = 2000;

interface Hosted {
  ledger: Ledger & { alarm(): Promise<void> };
  sql: SqlStorage;
  cancelAlarm: () => void;
  busyUntil: number;
  /** What a call of each method took, that counts for the next one of it. */
  takes: Map<string, number>;
  periodStart: number;
  periodRows: number;
}

/** The Durable Objects of the ledgers: real ledgers on a real SQLite, one call at a time each. */
export class LedgerHost {
  readonly #time: VirtualTime;
  readonly #platform: Platform;
  readonly #JobLedger: LoadedWorkers["JobLedger"];
  readonly #open = new Map<string, Hosted>();
  env: Bindings = {};
  calls = 0;
  readonly callsOf: Record<string, number> = {};
  rows = 0;
  /** CPU time of this machine in the ledger and in SQLite. */
  cpuMs = 0;
  /** Maximum of any ledger. */
  mostRowsPerSecond = 0;
  /** Total size of the closed databases. */
  byteLength = 0;

  constructor(time: VirtualTime, platform: Platform, { JobLedger }: LoadedWorkers) {
    this.#time = time;
    this.#platform = platform;
    this.#JobLedger = JobLedger;
  }

  /** Has the interface of a `DurableObjectNamespace`. */
  get namespace(): NonNullable<Bindings["LEDGERS"]> {
    return {
      idFromName: (job: string) => job,
      get: (job: string) =>
        new Proxy({} as Record<string, unknown>, {
          get:
            (_, method: string) =>
            (...args: unknown[]) =>
              this.#call(job, method, args),
        }),
    } as never;
  }

  #call(job: string, method: string, args: unknown[]): Promise<unknown> {
    const hosted = this.#hosted(job);
    const now = this.#time.now();
    const start = Math.max(now + this.#platform.callMs, hosted.busyUntil);
    hosted.busyUntil = start + (hosted.takes.get(method) ?? 0);
    return new Promise((resolve, reject) => {
      this.#time.after(start - now, () => {
        this.#timed(hosted, method, () => (hosted.ledger as never as Methods)[method]!(...args)).then(
          resolve,
          reject,
        );
      });
    });
  }

  #timed<T>(hosted: Hosted, method: string, call: () => Promise<T>): Promise<T> {
    this.calls++;
    this.callsOf[method] = (this.callsOf[method] ?? 0) + 1;
    const before = hosted.sql.rowsWritten;
    const started = performance.now();
    const answer = call();
    // The code runs to its end here, except where it awaits a queue.
    this.cpuMs += performance.now() - started;
    const rows = hosted.sql.rowsWritten - before;
    const took = (1000 * rows) / this.#platform.ledgerRowsPerSecond;
    hosted.busyUntil = Math.max(hosted.busyUntil + took - (hosted.takes.get(method) ?? 0), this.#time.now());
    hosted.takes.set(method, took);
    this.rows += rows;
    this.#rate(hosted, rows);
    return answer;
  }

  #rate(hosted: Hosted, rows: number): void {
    const now = this.#time.now();
    if (now - hosted.periodStart >= RATE_MS) {
      hosted.periodStart = now;
      hosted.periodRows = 0;
    }
    hosted.periodRows += rows;
    this.mostRowsPerSecond = Math.max(this.mostRowsPerSecond, (1000 * hosted.periodRows) / RATE_MS);
  }

  #hosted(job: string): Hosted {
    const known = this.#open.get(job);
    if (known) return known;
    const sql = new SqlStorage();
    const hosted: Hosted = {
      sql,
      cancelAlarm: () => {},
      busyUntil: 0,
      takes: new Map(),
      periodStart: this.#time.now(),
      periodRows: 0,
      ledger: undefined as never,
    };
    const setAlarm = async (at: number) => {
      hosted.cancelAlarm();
      hosted.cancelAlarm = this.#time.after(at - Date.now(), () => {
        this.#timed(hosted, "alarm", () => hosted.ledger.alarm()).catch(() =>
          setAlarm(Date.now() + ALARM_RETRY_MS),
        );
      });
    };
    hosted.ledger = new this.#JobLedger({ storage: { sql, setAlarm } } as never, this.env);
    this.#open.set(job, hosted);
    return hosted;
  }

  /** Closes the ledger of a job that has ended, without tasks in progress. */
  close(job: string): void {
    const hosted = this.#open.get(job);
    if (!hosted) return;
    hosted.cancelAlarm();
    this.byteLength += hosted.sql.byteLength;
    hosted.sql.close();
    this.#open.delete(job);
  }
}

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>;
