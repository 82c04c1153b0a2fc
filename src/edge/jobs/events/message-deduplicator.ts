import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState, SqlStorage } from "@cloudflare/workers-types";
import type { Bindings } from "../context/bindings.ts";

/** Twice the maximum age of an SNS message: a replay is rejected by its age before its id is deleted. */
const RETENTION_MS = 2 * 3600 * 1000;

/** Stores the ids of accepted webhook messages, so that none is accepted twice. Deployed under the class name `SeenMessages`. */
export class MessageDeduplicator extends DurableObject<Bindings> {
  readonly #sql: SqlStorage;

  constructor(state: DurableObjectState, env: Bindings) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
    );
  }

  async has(id: string): Promise<boolean> {
    return this.#sql.exec("SELECT 1 FROM seen WHERE id = ?", id).toArray().length > 0;
  }

  async add(id: string): Promise<void> {
    this.#sql.exec("INSERT OR REPLACE INTO seen (id, at) VALUES (?, ?)", id, Date.now());
    if ((await this.ctx.storage.getAlarm()) === null)
      await this.ctx.storage.setAlarm(Date.now() + RETENTION_MS);
  }

  override async alarm(): Promise<void> {
    this.#sql.exec("DELETE FROM seen WHERE at < ?", Date.now() - RETENTION_MS);
    const { n } = this.#sql.exec("SELECT count(*) AS n FROM seen").one();
    if (n) await this.ctx.storage.setAlarm(Date.now() + RETENTION_MS);
  }
}

/** One object for all messages: webhooks are few. */
export function getMessageDeduplicator(env: Bindings): Pick<MessageDeduplicator, "has" | "add"> {
  const namespace = env.SEEN!;
  return namespace.get(namespace.idFromName("webhooks")) as unknown as Pick<
    MessageDeduplicator,
    "has" | "add"
  >;
}
