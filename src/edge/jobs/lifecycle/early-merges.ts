import type { SqlStorage } from "@cloudflare/workers-types";
import type { MergeNeeds } from "../../shared/ledger-port.ts";

interface WaitingMerge extends MergeNeeds {
  isSent: boolean;
}

/** Which shards each merge of a job reads, and which merges were dispatched before the phase of merges. */
export class EarlyMerges {
  readonly #sql: SqlStorage;
  /** By shard; read once per instance, because a Durable Object pays for every row it reads. */
  #byShard: Map<number, WaitingMerge[]> | undefined;
  #byId = new Map<number, WaitingMerge>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      "CREATE TABLE IF NOT EXISTS needs (merge_id INTEGER PRIMARY KEY, shards TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0)",
    );
  }

  clear(): void {
    this.#sql.exec("DELETE FROM needs");
    this.#byShard = undefined;
  }

  /** Adds merges; those that are there stay as they are. */
  add(merges: readonly MergeNeeds[]): void {
    for (const { id, shards } of merges) {
      this.#sql.exec(
        "INSERT OR IGNORE INTO needs (merge_id, shards) VALUES (?, ?)",
        id,
        JSON.stringify(shards),
      );
    }
    this.#byShard = undefined;
  }

  /** Merges that read a shard and were not dispatched yet. */
  waitingFor(shard: number): readonly MergeNeeds[] {
    return (this.#read().get(shard) ?? []).filter(({ isSent }) => !isSent);
  }

  /** The shards that a merge reads; none where the merge is not known. */
  shardsOf(id: number): readonly number[] {
    this.#read();
    return this.#byId.get(id)?.shards ?? [];
  }

  isSent(id: number): boolean {
    this.#read();
    return this.#byId.get(id)?.isSent ?? false;
  }

  markSent(ids: readonly number[], isSent = true): void {
    this.#read();
    for (const id of ids) {
      this.#sql.exec("UPDATE needs SET sent = ? WHERE merge_id = ?", Number(isSent), id);
      this.#byId.get(id)!.isSent = isSent;
    }
  }

  #read(): Map<number, WaitingMerge[]> {
    if (this.#byShard) return this.#byShard;
    const byShard = new Map<number, WaitingMerge[]>();
    this.#byId = new Map();
    for (const row of this.#sql.exec("SELECT merge_id, shards, sent FROM needs")) {
      const shards = JSON.parse(row.shards as string) as number[];
      const merge = { id: row.merge_id as number, shards, isSent: row.sent === 1 };
      this.#byId.set(merge.id, merge);
      for (const shard of shards) {
        const known = byShard.get(shard);
        if (known) known.push(merge);
        else byShard.set(shard, [merge]);
      }
    }
    this.#byShard = byShard;
    return byShard;
  }
}
