/**
 * A row of a CSV table (RFC 4180: CRLF, quotes only where needed); missing columns are empty.
 *
 * Written by hand: ten lines.
 */
export function csvLine<Column extends string>(
  columns: readonly Column[],
  row: Partial<Record<Column, string>>,
): string {
  return `${columns.map((column) => field(row[column] ?? "")).join(",")}\r\n`;
}

function field(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
