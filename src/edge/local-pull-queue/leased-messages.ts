import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState, SqlStorage } from "@cloudflare/workers-types";

/** As in the queues of wrangler.toml: the fifth attempt is the last. */
const MAX_ATTEMPTS = 5;

export interface Leased {
  lease: string;
  attempts: number;
  body: string;
}

/** Messages of a queue: each waits, or is leased to one consumer until a time. */
export class LeasedMessages extends DurableObject {
  readonly #sql: SqlStorage;

  constructor(state: DurableObjectState, env: unknown) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, body TEXT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0, lease TEXT, visibleAt INTEGER NOT NULL) WITHOUT ROWID`);
  }

  async add(id: string, body: string): Promise<void> {
    this.#sql.exec(
      "INSERT OR IGNORE INTO messages (id, body, visibleAt) VALUES (?, ?, ?)",
      id,
      body,
      Date.now(),
    );
  }

  async lease(count: number, leaseMs: number): Promise<Leased[]> {
    const now = Date.now();
    const rows = this.#sql
      .exec(
        "SELECT id, body, attempts FROM messages WHERE visibleAt <= ? AND attempts < ? ORDER BY visibleAt LIMIT ?",
        now,
        MAX_ATTEMPTS,
        count,
      )
      .toArray();
    return rows.map(({ id, body, attempts }) => {
      const lease = crypto.randomUUID();
      this.#sql.exec(
        "UPDATE messages SET lease = ?, attempts = attempts + 1, visibleAt = ? WHERE id = ?",
        lease,
        now + leaseMs,
        id as string,
      );
      return { lease, attempts: (attempts as number) + 1, body: body as string };
    });
  }

  /** Number of messages that are not acknowledged, leased or not. */
  async backlog(): Promise<number> {
    return this.#sql.exec("SELECT COUNT(*) AS count FROM messages").one().count as number;
  }

  /** An expired lease has no effect: another consumer may have the message. */
  async settle(
    acks: readonly string[],
    retries: readonly { lease: string; delaySeconds: number }[],
  ): Promise<void> {
    for (const lease of acks) this.#sql.exec("DELETE FROM messages WHERE lease = ?", lease);
    for (const { lease, delaySeconds } of retries) {
      this.#sql.exec(
        "UPDATE messages SET lease = NULL, visibleAt = ? WHERE lease = ?",
        Date.now() + delaySeconds * 1000,
        lease,
      );
    }
  }

  /** Removes and returns messages after their last attempt, for the dead-letter queue. */
  async dead(): Promise<string[]> {
    const rows = this.#sql
      .exec("SELECT id, body FROM messages WHERE attempts >= ? AND visibleAt <= ?", MAX_ATTEMPTS, Date.now())
      .toArray();
    for (const { id } of rows) this.#sql.exec("DELETE FROM messages WHERE id = ?", id as string);
    return rows.map(({ body }) => body as string);
  }
}
