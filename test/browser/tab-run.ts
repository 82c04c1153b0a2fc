import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { unzipSync } from "fflate";
import type { Page, Request } from "playwright-core";
import { expect } from "vitest";

/** Names of all files below a directory, with `/`. */
export function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

/** The results of the run that the page shows, by name. */
export async function saveAsZip(page: Page): Promise<Record<string, Uint8Array>> {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save as zip" }).click();
  return unzipSync(readFileSync(await (await download).path()));
}

/** All files have the bytes of a run of the command line; `run.json` tells times and places. */
export function expectSameBytes(files: Record<string, Uint8Array>, expected: string): void {
  expect(Object.keys(files).sort()).toEqual(filesBelow(expected));
  for (const [name, bytes] of Object.entries(files))
    if (name !== "run.json")
      expect(Buffer.from(bytes).equals(readFileSync(join(expected, name))), name).toBe(true);
}

/** Requests for code and the model are all that the page made; none carried anything. */
export function expectNothingSent(sent: readonly Request[], own: string): void {
  expect(sent.length).toBeGreaterThan(5);
  for (const request of sent) {
    const url = new URL(request.url());
    if (url.protocol === "blob:") continue;
    expect(url.origin).toBe(own);
    expect(url.pathname).toMatch(/^\/assets\/|^\/v1\/view\/data\/model\//);
    expect([request.method(), request.postData(), url.search]).toEqual(["GET", null, ""]);
  }
}

/** Puts a folder of the browser's own disk in the place of the picker, which a browser without a window cannot show. */
export async function givePicker(page: Page, folder: string): Promise<void> {
  await page.evaluate(`globalThis.showDirectoryPicker = async () =>
    (await navigator.storage.getDirectory()).getDirectoryHandle(${JSON.stringify(folder)}, { create: true })`);
}

const WALK = `async (path, withBytes) => {
  let top = await navigator.storage.getDirectory();
  for (const name of path.split("/")) {
    top = await top.getDirectoryHandle(name).catch(() => undefined);
    if (top === undefined) return undefined;
  }
  const files = {};
  const walk = async (folder, prefix) => {
    for await (const [name, handle] of folder.entries())
      if (handle.kind === "directory") await walk(handle, prefix + name + "/");
      else files[prefix + name] = withBytes ? (await (await handle.getFile()).bytes()).toBase64() : "";
  };
  await walk(top, "");
  return files;
}`;

/** Names of all files below a folder of the browser's own disk; undefined if there is none. */
export async function listFolder(page: Page, path: string): Promise<string[] | undefined> {
  const files = await page.evaluate(`(${WALK})(${JSON.stringify(path)}, false)`);
  return files === undefined ? undefined : Object.keys(files as object).sort();
}

/** The files themselves. */
export async function readFolder(page: Page, path: string): Promise<Record<string, Uint8Array>> {
  const files = (await page.evaluate(`(${WALK})(${JSON.stringify(path)}, true)`)) as Record<string, string>;
  return Object.fromEntries(
    Object.entries(files).map(([name, text]) => [name, new Uint8Array(Buffer.from(text, "base64"))]),
  );
}
