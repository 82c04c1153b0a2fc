import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";

type Row = Record<string, unknown>;

/** What is used of a cursor of a Durable Object. */
class Cursor {
  readonly #rows: Row[];
  readonly rowsWritten: number;

  constructor(rows: Row[], rowsWritten: number) {
    this.#rows = rows;
    this.rowsWritten = rowsWritten;
  }

  toArray(): Row[] {
    return this.#rows;
  }

  one(): Row {
    if (this.#rows.length !== 1) throw new Error(`expected one row, there are ${this.#rows.length}`);
    return this.#rows[0]!;
  }

  [Symbol.iterator](): Iterator<Row> {
    return this.#rows[Symbol.iterator]();
  }
}

/** The SQL of a Durable Object on a real SQLite in memory. */
export class SqlStorage {
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, { statement: StatementSync; reads: boolean }>();
  rowsWritten = 0;

  exec(query: string, ...bindings: SQLInputValue[]): Cursor {
    if (query.includes(";")) {
      this.#database.exec(query);
      return new Cursor([], 0);
    }
    let known = this.#statements.get(query);
    if (!known) {
      const statement = this.#database.prepare(query);
      known = { statement, reads: statement.columns().length > 0 };
      this.#statements.set(query, known);
    }
    if (known.reads) return new Cursor(known.statement.all(...bindings) as Row[], 0);
    const changes = Number(known.statement.run(...bindings).changes);
    this.rowsWritten += changes;
    return new Cursor([], changes);
  }

  get byteLength(): number {
    const of = (what: string) => Number(Object.values(this.exec(`PRAGMA ${what}`).one())[0]);
    return (of("page_count") - of("freelist_count")) * of("page_size");
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}
