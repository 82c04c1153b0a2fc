import path from "node:path";
import { type Info, parse } from "csv-parse/sync";
import { JobError } from "../orchestrator/errors.ts";
import { parseSourceAddress } from "../storage/source-address.ts";
import { CohortManifestError } from "./errors.ts";

/** One scan of a cohort. */
export interface CohortRow {
  id: string;
  /** Absolute path or address. */
  source: string;
  /** Micrometres per pixel of level 0. */
  mpp?: number;
  /** Absolute path or address. */
  mask?: string;
  /** Line of the manifest where the row begins. */
  line?: number;
  /** Values of the other columns, unchanged, in the order of `covariates`. */
  values: readonly string[];
}

export interface ManifestRows {
  /** Names of the other columns, which the table repeats. */
  covariates: readonly string[];
  rows: readonly CohortRow[];
}

const RESERVED_COLUMNS = ["id", "source", "mpp", "mask"];
/** Enough for a million slides; a larger file is probably not a manifest. */
const MAX_BYTES = 256 << 20;
const MAX_ROWS = 1_000_000;
const MAX_COVARIATES = 1000;
const MAX_ID = 200;

/**
 * Reads a manifest: CSV with a header. `source` is required; `id`, `mpp` and `mask` are optional. `;` and tabs also
 * separate columns. Sources and masks are relative to `directory`.
 * @param taken names of the table's own columns
 * @throws {CohortManifestError} with every problem and its line
 */
export function readManifest(
  name: string,
  text: string,
  directory: string,
  taken: ReadonlySet<string> = new Set(),
): ManifestRows {
  if (text.length > MAX_BYTES) {
    throw new CohortManifestError(name, [
      `the file is larger than ${MAX_BYTES >> 20} MiB: is it a manifest?`,
    ]);
  }
  const delimiter = detectDelimiter(text);
  const lines = parseCsv(name, text, delimiter);
  const [head, ...body] = lines;
  if (!head) throw new CohortManifestError(name, ["line 1: the file is empty; write a header with source"]);
  const header = head.record.map((h) => h.trim());
  checkHeader(name, header, taken);
  if (body.length === 0) {
    throw new CohortManifestError(name, ["there are no rows: write one for each scan below the header"]);
  }
  if (body.length > MAX_ROWS) {
    throw new CohortManifestError(name, [`there are ${body.length} rows: the limit is ${MAX_ROWS}`]);
  }
  const at = (column: string) => header.indexOf(column);
  const kept = header.flatMap((h, i) => (RESERVED_COLUMNS.includes(h) ? [] : [i]));
  const problems: string[] = [];
  const rows: CohortRow[] = [];
  const lineById = new Map<string, number>();
  for (const { record, line } of body) {
    const problem = (text: string) => void problems.push(`line ${line}: ${text}`);
    if (record.length !== header.length) {
      problem(`${record.length} columns where the header has ${header.length}`);
      continue;
    }
    const cell = (column: string) => record[at(column)]?.trim() ?? "";
    const source = resolveAddress(cell("source"), directory, "source", problem);
    const mask = cell("mask") === "" ? undefined : resolveAddress(cell("mask"), directory, "mask", problem);
    const mpp = cell("mpp") === "" ? undefined : parseDecimal(cell("mpp"), delimiter);
    if (mpp !== undefined && !(mpp > 0 && Number.isFinite(mpp))) {
      problem(`mpp is "${cell("mpp")}": it must be micrometres per pixel, a number above 0`);
    }
    const id = cell("id") || (source === undefined ? "" : sourceName(source));
    if (source !== undefined || cell("id") !== "") {
      const wrong = describeInvalidId(id);
      if (wrong) problem(`id "${printable(id)}" ${wrong}`);
      // Some file systems ignore case: such names would collide.
      const before = lineById.get(id.toLowerCase());
      if (before !== undefined) problem(`id "${printable(id)}" is already used in line ${before}`);
      else lineById.set(id.toLowerCase(), line);
    }
    if (source !== undefined) {
      rows.push({
        id,
        source,
        ...(mpp !== undefined && { mpp }),
        ...(mask !== undefined && { mask }),
        line,
        values: kept.map((i) => record[i]!),
      });
    }
  }
  if (problems.length > 0) throw new CohortManifestError(name, problems);
  return { covariates: kept.map((i) => header[i]!), rows };
}

/**
 * Decodes a manifest strictly: a character that is lost here would be lost in the table.
 * @throws {CohortManifestError} with the line that is in another encoding
 * @throws {JobError} for an unknown encoding
 */
export function decodeManifest(name: string, bytes: Uint8Array, encoding?: string): string {
  const stated =
    bytes[0] === 0xff && bytes[1] === 0xfe
      ? "utf-16le"
      : bytes[0] === 0xfe && bytes[1] === 0xff
        ? "utf-16be"
        : "utf-8";
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(encoding ?? stated, { fatal: true });
  } catch (cause) {
    throw new JobError(
      `there is no encoding "${encoding}": name one such as latin1, windows-1252 or utf-16le`,
      { cause },
    );
  }
  try {
    return decoder.decode(bytes);
  } catch {
    const line = firstBadLine(bytes, decoder.encoding);
    const hint =
      encoding === undefined
        ? ": save it as UTF-8, or name its encoding, for instance --encoding latin1"
        : ": name another --encoding";
    throw new CohortManifestError(name, [
      `line ${line}: it is not in ${decoder.encoding.toUpperCase()}${hint}`,
    ]);
  }
}

/** The line at which decoding fails. */
function firstBadLine(bytes: Uint8Array, encoding: string): number {
  const stream = new TextDecoder(encoding, { fatal: true });
  let line = 1;
  for (const byte of bytes) {
    try {
      if (stream.decode(Uint8Array.of(byte), { stream: true }).includes("\n")) line++;
    } catch {
      break;
    }
  }
  return line;
}

/** Why an id is invalid: it names a directory, a row and a line of a report. */
export function describeInvalidId(id: string): string | undefined {
  if (id === "") return "is empty";
  if (id.length > MAX_ID) return `is longer than ${MAX_ID} characters`;
  if (/[/\\]/.test(id)) return "has a path separator in it";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(id)) return "has a control character in it";
  if (id === "." || id === "..") return "is a directory's own name";
  return undefined;
}

/** Last segment of a path or address, without the query of a signed address. */
export function sourceName(source: string): string {
  const address = parseSourceAddress(source);
  return path.basename(address.scheme === "file" ? address.path : address.key);
}

function parseCsv(name: string, text: string, delimiter: string): { record: string[]; line: number }[] {
  try {
    const found = parse(text, {
      bom: true,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      // Empty rows that a spreadsheet leaves behind.
      skip_records_with_empty_values: true,
      delimiter,
      max_record_size: 1 << 20,
    }) as unknown as { record: string[]; info: Info }[];
    // The parser gives the line where a record ends; one with line breaks in its cells began earlier.
    return found.map(({ record, info }) => ({
      record,
      line: info.lines - record.reduce((n, cell) => n + (cell.match(/\n/g)?.length ?? 0), 0),
    }));
  } catch (cause) {
    const { lines, code } = cause as { lines?: number; code?: string };
    const why = code?.includes("QUOTE") ? "a quote is not closed or stands inside a cell" : "it is no CSV";
    throw new CohortManifestError(name, [`line ${lines ?? 1}: ${why}`]);
  }
}

/** Where a comma does not separate columns it may separate decimals. */
function parseDecimal(text: string, delimiter: string): number {
  return Number(delimiter === "," || text.includes(".") ? text : text.replace(",", "."));
}

function detectDelimiter(text: string): string {
  const head = text.slice(0, text.search(/[\r\n]|$/));
  return [",", ";", "\t"].toSorted((a, b) => head.split(b).length - head.split(a).length)[0]!;
}

function checkHeader(name: string, header: readonly string[], taken: ReadonlySet<string>): void {
  const problems: string[] = [];
  if (!header.includes("source")) problems.push(`line 1: there is no column "source"`);
  header.forEach((column, i) => {
    if (column === "") problems.push(`line 1: column ${i + 1} has no name`);
    else if (header.indexOf(column) !== i)
      problems.push(`line 1: column "${printable(column)}" appears twice`);
    else if (taken.has(column) && !RESERVED_COLUMNS.includes(column))
      problems.push(
        `line 1: column "${printable(column)}" has the name of one of the table's own: rename it`,
      );
  });
  if (header.length > MAX_COVARIATES) problems.push(`line 1: there are more than ${MAX_COVARIATES} columns`);
  if (problems.length > 0) throw new CohortManifestError(name, problems);
}

function resolveAddress(
  text: string,
  directory: string,
  what: string,
  problem: (text: string) => void,
): string | undefined {
  if (text === "") {
    problem(`${what} is empty`);
    return undefined;
  }
  try {
    const address = parseSourceAddress(text);
    return address.scheme === "file" ? path.resolve(directory, address.path) : text;
  } catch (error) {
    problem(`${what}: ${(error as Error).message}`);
    return undefined;
  }
}

function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return text.replace(/[\u0000-\u001f\u007f]/g, "?").slice(0, 60);
}
