import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { upload } from "../../src/client/upload.ts";
import { scanFolder } from "../../src/client/upload-folder.ts";
import { runTransferWorker } from "../edge/jobs/transfer-worker/run.ts";
import { type Bundle, bundleWorker } from "../edge/run-worker.ts";

let directory: string;
let bundle: Bundle;
let worker: Miniflare;
let to: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-folder-"));
  vi.stubEnv("XDG_STATE_HOME", join(directory, "state"));
  bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
  worker = await runTransferWorker(bundle);
  to = (await worker.ready).href;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await worker?.dispose();
  await bundle?.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** Enough of a DICOM file to be sent: nothing reads further. */
function dicom(): Uint8Array {
  const bytes = new Uint8Array(randomBytes(400));
  bytes.set(new TextEncoder().encode("DICM"), 128);
  return bytes;
}

let made = 0;
let path: string;
beforeEach(() => {
  path = join(directory, `case ${made++}`);
});

function write(files: Record<string, Uint8Array | string>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, dirname(name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
}

/** Contents of the bucket by path, and the folders they are in. */
async function stored(): Promise<{ folders: Set<string>; files: Map<string, Buffer> }> {
  const scans = await worker.getR2Bucket("SCANS");
  const files = new Map<string, Buffer>();
  const folders = new Set<string>();
  const name = path.slice(directory.length + 1);
  for (const { key } of (await scans.list({ prefix: "uploads/" })).objects) {
    const [, id, folder, ...rest] = key.split("/");
    if (folder !== name) continue;
    folders.add(id!);
    files.set(rest.join("/"), Buffer.from(await (await scans.get(key))!.arrayBuffer()));
  }
  return { folders, files };
}

describe("files of a directory", () => {
  test("are sent if they are DICOM, and no others", async () => {
    const slices = { "a.dcm": dicom(), "b/c/noname": dicom() };
    write({ ...slices, "report of Jane Quux.txt": "text", "b/small": "x", ".hidden": dicom().fill(0, 128) });
    const { job, source } = await upload({ file: path, server: to, series: 2 });
    expect(job).toMatch(/^[0-9a-f]{32}$/);
    const { files } = await stored();
    expect([...files.keys()].sort()).toEqual(["a.dcm", "b/c/noname"]);
    for (const [name, bytes] of Object.entries(slices)) expect(files.get(name)!.equals(bytes)).toBe(true);
    const started = (await (await fetch(new URL("test/started", to))).json()) as {
      source: string;
      request: object;
    }[];
    expect(started.find((one) => one.source === source)!.request).toMatchObject({ series: 2 });
  });

  test("are all sent for a Zarr, except files of the operating system", async () => {
    write({
      ".zattrs": "{}",
      ".zgroup": "{}",
      "0/.zarray": "{}",
      "0/0/0": "chunk",
      ".DS_Store": "x",
      "0/Thumbs.db": "x",
    });
    await upload({ file: path, server: to });
    expect([...(await stored()).files.keys()].sort()).toEqual([".zattrs", ".zgroup", "0/.zarray", "0/0/0"]);
  });
});

test("an interrupted upload is resumed and ends with one complete folder", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `${i}.dcm`);
  write(Object.fromEntries(names.map((name) => [name, dicom()])));
  const stop = new AbortController();
  let sent = 0;
  const first = upload({
    file: path,
    server: to,
    parallelUploads: 1,
    signal: stop.signal,
    onEvent: ({ type }) => {
      if (type === "transfer" && ++sent === 5) stop.abort(new Error("stopped"));
    },
  });
  await expect(first).rejects.toThrow("stopped");
  const between = await stored();
  expect(between.files.size).toBeGreaterThanOrEqual(5);
  expect(between.files.size).toBeLessThan(12);
  await upload({ file: path, server: to });
  const after = await stored();
  expect(after.folders).toEqual(between.folders);
  expect([...after.files.keys()].sort()).toEqual(names.sort());
  // A finished upload is not resumed: the same command is a new upload.
  await upload({ file: path, server: to });
  expect((await stored()).folders.size).toBe(2);
});

test("a folder that changes during its upload is reported, and is a new upload then", async () => {
  write({ "a.dcm": dicom(), "b.dcm": dicom() });
  let changed = false;
  const first = upload({
    file: path,
    server: to,
    onEvent: ({ type }) => {
      if (type === "transfer" && !changed) write({ "c.dcm": dicom() });
      changed ||= type === "transfer";
    },
  });
  await expect(first).rejects.toThrow(/changed while it was uploaded/);
  await upload({ file: path, server: to });
  expect((await stored()).folders.size).toBe(2);
});

describe("is rejected before a byte is sent", () => {
  test("a directory that is neither OME-Zarr nor DICOM", async () => {
    write({ "a.txt": "x" });
    await expect(upload({ file: path, server: to })).rejects.toThrow(
      /without OME-Zarr metadata and without DICOM files/,
    );
    expect((await stored()).folders.size).toBe(0);
  });

  test("a file that is too large for one request, with advice", async () => {
    write({ "a.dcm": dicom() });
    truncateSync(join(path, "a.dcm"), 60 * 2 ** 20 + 1);
    await expect(scanFolder(path, undefined)).rejects.toThrow(
      /more than the 60 MiB .* tilewright jobs start/,
    );
  });

  test("a missing directory", async () => {
    await expect(upload({ file: path, server: to })).rejects.toThrow(/does not exist/);
  });
});
