import { randomBytes } from "node:crypto";
import path from "node:path";
import { openSource } from "../../local/open-source.ts";
import { edgeVariant, loadModel, resolveModelDirectory } from "../../local/resolve-model.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { RunManifest } from "../../orchestrator/manifest/run-manifest.ts";
import { FsStore } from "../../storage/fs-store.ts";
import { openAddress } from "../../storage/open-address.ts";
import type { OpenedAddress } from "../../storage/opened-address.ts";
import { parseSourceAddress } from "../../storage/source-address.ts";
import type { AddCommand } from "../options/context.ts";
import { parsePort } from "../options/parsers.ts";
import { type OpenedCohort, openCohort } from "../view/cohort-view.ts";
import type { ViewRoot } from "../view/view-roots.ts";
import { startViewServer } from "../view/view-server.ts";
import { findWebAssets } from "../view/web-assets.ts";

interface ViewFlags {
  source?: string;
  compare?: string;
  model: string;
  port: number;
}

export const addViewCommand: AddCommand = (program, { signal, setResumeHint }) => {
  program
    .command("view [results|scan]")
    .description(
      "show a finished run, cohort or scan in the browser; without one, segment scans in the browser",
    )
    .option("--source <scan>", "the scan of the run, if it is not where it was")
    .option("--compare <results>", "another finished run of the same scan, on the other side of a line")
    .option("--model <name|dir>", "model for segmenting in the browser", "nuclei")
    .option("--port <n>", "port to listen on; 0 takes any free one", parsePort, 0)
    .action(async (place: string | undefined, flags: ViewFlags) => {
      setResumeHint("nothing is lost: the same command shows it again");
      if (place === undefined && flags.source !== undefined)
        throw new JobError("--source belongs to a finished run: name its directory, too");
      const model = await openModel(flags.model);
      const cohort = place === undefined ? undefined : openCohortAt(place);
      if (cohort && flags.source !== undefined)
        throw new JobError("--source belongs to a finished run: a cohort names its own scans");
      const scan =
        place === undefined || cohort ? { ...nothing(), cohort } : await openScan(place, flags.source);
      scan.roots.set("model", model.root);
      if (flags.compare !== undefined) await addOtherRun(scan, flags.compare);
      try {
        await serve(scan, model.served, flags.port, signal);
      } finally {
        await Promise.all(scan.opened.map((address) => address.close()));
      }
    });
};

interface Scan {
  name: string;
  roots: Map<string, ViewRoot>;
  imageMissing?: string;
  opened: OpenedAddress[];
  /** Of a cohort the page shows its table first. */
  cohort?: OpenedCohort;
}

/** A page without a scan. */
function nothing(): Scan {
  return { name: "Tilewright", roots: new Map(), opened: [] };
}

/** A model that the page can load, with the variant that runs best in WebAssembly. */
async function openModel(place: string): Promise<{ root: ViewRoot; served: object }> {
  const directory = resolveModelDirectory(place);
  const { manifest } = await loadModel(place);
  const store = new FsStore(path.dirname(directory));
  const root = { store, key: path.basename(directory), directory: store.root };
  const variant = edgeVariant(manifest) ?? manifest.defaultVariant;
  const { name, version } = manifest;
  return { root, served: { name, version, variant, root: "model", key: root.key } };
}

/** Adds a second run. The page checks that both have the same source, and says so where they have not. */
async function addOtherRun(scan: Scan, place: string): Promise<void> {
  if (!scan.roots.has("run"))
    throw new JobError("--compare needs two finished runs: name the first one, too");
  const other = await open(place);
  scan.opened.push(other);
  if ((await other.store.head(`${other.key}/run.json`)) === undefined)
    throw new JobError(`${place} holds no finished run (run.json), so there is nothing to compare with`);
  scan.roots.set("other", toRoot(other));
}

function openCohortAt(place: string): OpenedCohort | undefined {
  return parseSourceAddress(place).scheme === "file" ? openCohort(place) : undefined;
}

/** Opens the results and the scan of a row of a cohort, under roots of their own. */
async function openRow(
  { cohort, roots, opened }: Scan,
  row: number,
): Promise<ReturnType<typeof describeScan> | undefined> {
  const place = cohort?.scanOf(row);
  if (place === undefined) return undefined;
  const [run, image] = [`run${row}`, `image${row}`];
  if (roots.has(run)) return describeScan(roots, place.source, run, image);
  const found = await openScan(place.results, undefined, place.source);
  opened.push(...found.opened);
  for (const [name, root] of found.roots) roots.set(`${name}${row}`, root);
  return describeScan(roots, found.name, run, image);
}

function describeScan(roots: Scan["roots"], name: string, run: string, image: string) {
  const at = (root: string) => {
    const found = roots.get(root);
    return found && { root, key: found.key };
  };
  const imageMissing = roots.has(image) ? undefined : "The scan is not where the cohort's manifest names it.";
  return { name: path.basename(name), run: at(run), image: at(image), imageMissing, models: [] };
}

async function serve(scan: Scan, model: object, port: number, signal: AbortSignal): Promise<void> {
  const assets = findWebAssets();
  const token = randomBytes(18).toString("base64url");
  const at = (root: string) => {
    const found = scan.roots.get(root);
    return found && { root, key: found.key };
  };
  const server = await startViewServer({
    port,
    token,
    assets,
    roots: scan.roots,
    session: {
      name: scan.name,
      image: at("image"),
      imageMissing: scan.imageMissing,
      run: at("run"),
      otherRun: at("other"),
      models: [model],
      cohort: scan.cohort?.table,
    },
    openRow: (row) => openRow(scan, row),
    log: (line) => void process.stderr.write(`${line}\n`),
  }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EADDRINUSE")
      throw new JobError(`port ${port} is in use: choose another --port`, { cause });
    throw cause;
  });
  try {
    // The part after # never leaves the browser: the page keeps the token for this tab and removes it from the address.
    console.log(
      `${scan.cohort?.table.name ?? (scan.roots.size > 1 ? scan.name : "the page")} is shown to this machine at\n\n  ${server.url.origin}/#token=${token}\n`,
    );
    await new Promise<void>((stop) => {
      if (signal.aborted) stop();
      signal.addEventListener("abort", () => stop(), { once: true });
    });
  } finally {
    await server.close();
  }
}

/** A finished run with its scan, if that can be found, or a scan alone. @param guess where the scan probably lies */
async function openScan(place: string, source: string | undefined, guess?: string): Promise<Scan> {
  const run = await open(place);
  const opened = [run];
  try {
    const stored = await run.store.get(`${run.key}/run.json`);
    if (stored === undefined) {
      if (source !== undefined)
        throw new JobError(`${place} holds no finished run (run.json), so --source does not belong to it`);
      // The page reads the scan itself; what it could not read is refused here, in the same words as elsewhere.
      await (await openSource(place, undefined)).close();
      return { name: run.name, roots: new Map([["image", toRoot(run)]]), opened };
    }
    const manifest = JSON.parse(new TextDecoder().decode(stored.bytes)) as RunManifest;
    const roots = new Map([["run", toRoot(run)]]);
    const { name } = manifest.source;
    const image = await openSourceOf(manifest, place, source, guess);
    if (image !== undefined) {
      opened.push(image);
      roots.set("image", toRoot(image));
      return { name, roots, opened };
    }
    const imageMissing = `${name} is not beside the run; give its place: tilewright view … --source ${name}`;
    return { name, roots, imageMissing, opened };
  } catch (error) {
    await Promise.all(opened.map((address) => address.close()));
    throw error;
  }
}

/**
 * The scan of a run: at `--source`, or a file with its name beside the results, in their parent directory or the current
 * one. A scan that has changed since is not the one that the labels belong to.
 */
async function openSourceOf(
  { source }: RunManifest,
  place: string,
  given: string | undefined,
  guess: string | undefined,
): Promise<OpenedAddress | undefined> {
  const isLocal = parseSourceAddress(place).scheme === "file";
  const guesses = isLocal
    ? [path.join(place, "..", source.name), source.name, path.join(place, "..", "..", source.name)]
    : [];
  if (guess !== undefined) guesses.unshift(guess);
  for (const candidate of given === undefined ? guesses : [given]) {
    const address = await open(candidate);
    const info = await address.store.head(address.key);
    const isFolder = info === undefined && (await hasAny(address));
    // The user says so: the etag of a folder takes reading the headers of all its files.
    if (isFolder && (given !== undefined || (await hasEtag(candidate, source.etag)))) return address;
    if (info !== undefined && (info.etag === source.etag || info.byteLength === source.byteLength))
      return address;
    await address.close();
    if (given === undefined) continue;
    if (info === undefined) throw new JobError(`${given} does not exist; check its name and place`);
    throw new JobError(
      `${given} is not the scan of this run: it has ${info.byteLength} bytes, and ${source.name} had ${source.byteLength}`,
    );
  }
  return undefined;
}

/** Whether the scan in a folder has this etag. A folder that cannot be read has none. */
async function hasEtag(place: string, etag: string): Promise<boolean> {
  const opened = await openSource(place, undefined).catch(() => undefined);
  await opened?.close();
  return opened?.source.etag === etag;
}

async function hasAny({ store, key }: OpenedAddress): Promise<boolean> {
  for await (const _ of store.list(`${key}/`)) return true;
  return false;
}

async function open(place: string): Promise<OpenedAddress> {
  return openAddress(place).catch((cause) => {
    throw cause instanceof TypeError ? new JobError(cause.message, { cause }) : cause;
  });
}

function toRoot({ store, key }: OpenedAddress): ViewRoot {
  return { store, key, ...(store instanceof FsStore && { directory: store.root }) };
}
