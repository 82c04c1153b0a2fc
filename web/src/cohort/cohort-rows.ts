/** A column of a cohort's table; numbers sort and are distributed as such. */
export interface CohortColumn {
  name: string;
  isNumber: boolean;
}

/** Null where a value does not apply. */
export type CohortCell = string | number | null;

export interface CohortTableData {
  columns: readonly CohortColumn[];
  rows: readonly (readonly CohortCell[])[];
}

export interface CohortFilter {
  /** Part of any text of a row, in any case. */
  text: string;
  /** Value of the column `status`; "": any. */
  status: string;
  flaggedOnly: boolean;
  /** A column and the values that stay. Rows without a value are left out. */
  range?: { column: number; low: number; high: number };
}

export interface CohortOrder {
  column: number;
  isAscending: boolean;
}

/** Indexes of the rows that pass, in their order. */
export function filterRows({ columns, rows }: CohortTableData, filter: CohortFilter): number[] {
  const text = filter.text.trim().toLocaleLowerCase();
  const status = columns.findIndex(({ name }) => name === "status");
  const flags = columns.findIndex(({ name }) => name === "flags");
  return rows.flatMap((row, i) => {
    if (filter.status !== "" && row[status] !== filter.status) return [];
    if (filter.flaggedOnly && !row[flags]) return [];
    if (filter.range) {
      const value = row[filter.range.column];
      if (typeof value !== "number" || value < filter.range.low || value > filter.range.high) return [];
    }
    const matches =
      text === "" || row.some((cell) => typeof cell === "string" && cell.toLocaleLowerCase().includes(text));
    return matches ? [i] : [];
  });
}

/** Sorts indexes of rows by a column. Rows without a value come last in both directions; equal rows keep their order. */
export function sortRows(
  { columns, rows }: CohortTableData,
  shown: readonly number[],
  { column, isAscending }: CohortOrder,
): number[] {
  const direction = isAscending ? 1 : -1;
  const isNumber = columns[column]?.isNumber ?? false;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return shown.toSorted((i, j) => {
    const a = rows[i]![column] ?? null;
    const b = rows[j]![column] ?? null;
    if (a === null || b === null) return (a === null ? 1 : 0) - (b === null ? 1 : 0);
    return direction * (isNumber ? Number(a) - Number(b) : compare(String(a), String(b)));
  });
}
