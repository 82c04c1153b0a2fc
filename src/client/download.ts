import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { JobStatus } from "../contracts/job-request.ts";
import { OutputError } from "../local/errors.ts";
import { RunDirectory } from "../local/run-directory.ts";
import { forEachConcurrent } from "../storage/concurrency.ts";
import { ServiceError } from "./errors.ts";
import type { JobClient, OutputFile } from "./job-client.ts";

export interface DownloadOptions {
  /** Directory for the results; made if missing. */
  out: string;
  /** Replaces a finished run there. */
  force?: boolean;
  /** Of the job's outputs, by their names, those that are wanted beside `run.json`; default all. */
  only?: ReadonlySet<string>;
  /** Files under way at a time. */
  concurrency?: number;
  signal?: AbortSignal;
  /** Told of the size of all, then of each piece that is there. */
  onBegin?: (bytesTotal: number) => (bytes: number) => void;
}

const MANIFEST = "run.json";
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
/** What lies in the work directory for its own ends, and what is swept away there. */
const RESERVED = /^(job|lock.*|publishing\.json|attempts\.json|\..*|.*\.partial)$/;

/** What can be refused before anything is sent: a place that cannot be written, or that holds a finished run. */
export function checkDownloadPlace(out: string, force: boolean | undefined): void {
  // Work that was begun is continued or refused later, when it is known which job it belongs to.
  RunDirectory.check(out, { resume: true, force });
  if (!force && existsSync(join(out, MANIFEST))) {
    throw new OutputError(`${out} holds a finished run: choose another --out, or --force to replace it`);
  }
}

/**
 * Fetches what a job has written. Nothing has its final name before all of it is there and checked, and
 * `run.json` comes last, as with a run on this machine; a download that was cut short goes on when it is repeated.
 * @returns the manifest, as text
 */
export async function downloadOutputs(
  client: JobClient,
  { id, outputs }: JobStatus,
  options: DownloadOptions,
): Promise<string> {
  const { out, force, only, concurrency = 6, signal, onBegin } = options;
  checkDownloadPlace(out, force);
  const files = await client.outputs(id);
  const listed = files.find(({ name }) => name === MANIFEST);
  if (!listed || listed.byteLength > MAX_MANIFEST_BYTES) {
    throw new ServiceError(`${client.url.host}: job ${id} has no ${MANIFEST}, so its results are not whole`, {
      code: "bad_answer",
      retryable: false,
    });
  }
  const isWanted = ({ name }: OutputFile) => !only || only.has(topSegment(name));
  const rest = files.filter((file) => file !== listed && isWanted(file));
  for (const { name } of rest) checkName(name, client);
  const hashes = new Map(outputs?.map(({ name, sha256 }) => [name, sha256]));

  const place = RunDirectory.open(out, id, force ? { force } : { resume: true });
  // A finished run was refused above: another process was faster.
  if (typeof place === "string") return place;
  try {
    const told = onBegin?.(rest.reduce((n, { byteLength }) => n + byteLength, 0));
    const fetchOne = (file: OutputFile) =>
      fetchFile(client, id, file, join(place.work, file.name), hashes.get(file.name), told);
    await forEachConcurrent(rest, concurrency, fetchOne, { signal });
    const chunks: Uint8Array[] = [];
    for await (const chunk of client.output(id, listed)) chunks.push(chunk);
    const manifest = Buffer.concat(chunks).toString("utf8");
    place.publish([...new Set(rest.map(({ name }) => topSegment(name)))], manifest);
    return manifest;
  } catch (error) {
    throw withoutRoom(error) ?? error;
  } finally {
    place.release();
  }
}

async function fetchFile(
  client: JobClient,
  job: string,
  file: OutputFile,
  path: string,
  sha256: string | undefined,
  told: ((bytes: number) => void) | undefined,
): Promise<void> {
  if (existsSync(path) && statSync(path).size === file.byteLength) {
    // There already: a try before came so far.
    const hash = createHash("sha256");
    if (sha256 !== undefined) for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    if (sha256 === undefined || hash.digest("hex") === sha256) return told?.(file.byteLength);
  }
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.partial`;
  const handle = await open(temporary, "w");
  const hash = createHash("sha256");
  try {
    for await (const chunk of client.output(job, file)) {
      hash.update(chunk);
      await handle.writeFile(chunk);
      told?.(chunk.length);
    }
  } finally {
    await handle.close();
  }
  if (sha256 !== undefined && hash.digest("hex") !== sha256) {
    throw new ServiceError(`${client.url.host}: ${file.name} did not arrive as it was written; try again`, {
      code: "bad_answer",
      retryable: true,
    });
  }
  renameSync(temporary, path);
}

/** The output that a file is, or is a part of. */
function topSegment(name: string): string {
  return name.split("/")[0]!;
}

/** Names come from outside and become files. */
function checkName(name: string, { url }: JobClient): void {
  const segments = name.split("/");
  const bad = segments.some((s) => s === "" || s === "." || s === ".." || /[\\:\p{Cc}]/u.test(s));
  if (!bad && !RESERVED.test(segments[0]!) && !segments.at(-1)!.endsWith(".partial")) return;
  throw new ServiceError(`${url.host} lists ${JSON.stringify(name)}, which is no name for a file here`, {
    code: "bad_answer",
    retryable: false,
  });
}

function withoutRoom(error: unknown): OutputError | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return undefined;
  return new OutputError(
    "the disk is full: free some space and repeat the command, which goes on where it was",
  );
}
