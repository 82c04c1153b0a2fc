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
  /** Directory for the results; created if missing. */
  out: string;
  /** Replaces a finished run in `out`. */
  force?: boolean;
  /** Names of the outputs to download besides `run.json`; default all. */
  only?: ReadonlySet<string>;
  /** Files in progress at a time. */
  concurrency?: number;
  signal?: AbortSignal;
  /** Called with the size of all files; the function it returns gets the size of each piece. */
  onBegin?: (bytesTotal: number) => (bytes: number) => void;
}

const MANIFEST = "run.json";
const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
/** Names that the work directory uses itself or cleans up. */
const RESERVED = /^(job|lock.*|publishing\.json|attempts\.json|\..*|.*\.partial)$/;

/** Checks before anything is sent: the directory must be writable and hold no finished run. */
export function checkDownloadPlace(out: string, force: boolean | undefined): void {
  // Unfinished work is continued, or rejected later when its job is known.
  RunDirectory.check(out, { resume: true, force });
  if (!force && existsSync(join(out, MANIFEST))) {
    throw new OutputError(`${out} holds a finished run: choose another --out, or --force to replace it`);
  }
}

/**
 * Downloads the outputs of a job. No file gets its final name before all are complete and checked, and `run.json`
 * comes last, as in a run on this machine. A repeated call resumes an interrupted download.
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
    throw new ServiceError(
      `${client.url.host}: job ${id} has no ${MANIFEST}, so its results are incomplete`,
      {
        code: "bad_answer",
        retryable: false,
      },
    );
  }
  const isWanted = ({ name }: OutputFile) => !only || only.has(topSegment(name));
  const rest = files.filter((file) => file !== listed && isWanted(file));
  for (const { name } of rest) checkName(name, client);
  const hashes = new Map(outputs?.map(({ name, sha256 }) => [name, sha256]));

  const place = RunDirectory.open(out, id, force ? { force } : { resume: true });
  // A finished run was rejected above: another process finished in the meantime.
  if (typeof place === "string") return place;
  try {
    const onBytes = onBegin?.(rest.reduce((n, { byteLength }) => n + byteLength, 0));
    const fetchOne = (file: OutputFile) =>
      fetchFile(client, id, file, join(place.work, file.name), hashes.get(file.name), onBytes);
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
    // Downloaded by an earlier attempt.
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
    throw new ServiceError(`${client.url.host}: ${file.name} arrived damaged; try again`, {
      code: "bad_answer",
      retryable: true,
    });
  }
  renameSync(temporary, path);
}

/** The output that a file belongs to. */
function topSegment(name: string): string {
  return name.split("/")[0]!;
}

/** Names come from the service and become files. */
function checkName(name: string, { url }: JobClient): void {
  const segments = name.split("/");
  const bad = segments.some((s) => s === "" || s === "." || s === ".." || /[\\:\p{Cc}]/u.test(s));
  if (!bad && !RESERVED.test(segments[0]!) && !segments.at(-1)!.endsWith(".partial")) return;
  throw new ServiceError(`${url.host} lists ${JSON.stringify(name)}, which is not a valid file name here`, {
    code: "bad_answer",
    retryable: false,
  });
}

function withoutRoom(error: unknown): OutputError | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return undefined;
  return new OutputError("the disk is full: free some space and repeat the command to continue");
}
