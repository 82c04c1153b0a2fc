import { closeSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { type ColumnSource, fileWriter, ParquetWriter, type SchemaElement } from "hyparquet-writer";
import { VERSION } from "../orchestrator/version.ts";
import type { Cell, Column } from "./table.ts";

const SCHEMA: Record<Column["type"], Pick<SchemaElement, "type" | "converted_type">> = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  whole: { type: "INT64" },
  number: { type: "DOUBLE" },
};

/** Rows of a row group; also the most that are held in memory. */
const GROUP = 50_000;

/**
 * Writes a Parquet file group by group, so memory does not grow with the number of rows. The file gets its name when
 * it is complete. Call `add` any number of times, then `finish` or `abort`.
 */
export class ParquetFile {
  readonly #file: string;
  readonly #columns: readonly Column[];
  readonly #writer: ParquetWriter;
  #rows: (readonly Cell[])[] = [];

  constructor(file: string, columns: readonly Column[]) {
    this.#file = file;
    this.#columns = columns;
    this.#writer = new ParquetWriter({
      writer: fileWriter(this.#partial),
      schema: [
        { name: "schema", num_children: columns.length },
        ...columns.map(({ name, type }) => ({ name, repetition_type: "OPTIONAL" as const, ...SCHEMA[type] })),
      ],
      createdBy: `tilewright ${VERSION}`,
    });
  }

  get #partial(): string {
    return `${this.#file}.partial`;
  }

  add(row: readonly Cell[]): void {
    this.#rows.push(row);
    if (this.#rows.length >= GROUP) this.#flush();
  }

  finish(): void {
    this.#flush();
    this.#writer.finish();
    const fd = openSync(this.#partial, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(this.#partial, this.#file);
  }

  abort(): void {
    rmSync(this.#partial, { force: true });
  }

  #flush(): void {
    if (this.#rows.length === 0) return;
    const rows = this.#rows;
    this.#rows = [];
    const columnData: ColumnSource[] = this.#columns.map(({ name, type }, i) => ({
      name,
      data: rows.map((row) => parquetValue(row[i], type)),
    }));
    this.#writer.write({ columnData, rowGroupSize: rows.length });
  }
}

function parquetValue(cell: Cell, type: Column["type"]): string | bigint | number | null {
  if (cell === undefined || cell === null) return null;
  if (type === "text") return String(cell);
  const value = Number(cell);
  if (!Number.isFinite(value)) return null;
  return type === "whole" ? BigInt(Math.round(value)) : value;
}
