import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState, SqlStorage } from "@cloudflare/workers-types";
import type { Bindings } from "../context/bindings.ts";

/** Twice what an SNS message may be old: a replay is refused by its age before its id is forgotten. */
const KEPT_MS = 2 * 3600 * 1000;

/** Ids of webhook messages that were taken, so that none is taken twice. */
export class SeenMessages extends DurableObject<Bindings> {
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
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + KEPT_MS);
  }

  override async alarm(): Promise<void> {
    this.#sql.exec("DELETE FROM seen WHERE at < ?", Date.now() - KEPT_MS);
    const { n } = this.#sql.exec("SELECT count(*) AS n FROM seen").one();
    if (n) await this.ctx.storage.setAlarm(Date.now() + KEPT_MS);
  }
}

/** One object for all: webhooks are few. */
export function seenMessages(env: Bindings): Pick<SeenMessages, "has" | "add"> {
  const namespace = env.SEEN!;
  return namespace.get(namespace.idFromName("webhooks")) as unknown as Pick<SeenMessages, "has" | "add">;
}
