import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const SCRIPT = join(import.meta.dirname, "fetch-pictures.ts");
const DATA = join(import.meta.dirname, "../../shared/data");
const ONLY = "slides/ome-tiff/";

const listed = readFileSync(join(import.meta.dirname, "pictures.txt"), "utf8")
  .split("\n")
  .filter((line) => line && !line.startsWith("#"))
  .map((line) => line.split("\t") as [hash: string, place: string, path: string]);

describe("the list of real pictures", () => {
  it("names each place once, at a commit, and no place outside of the directory", () => {
    expect(listed.length).toBeGreaterThan(500);
    expect(new Set(listed.map(([, place]) => place)).size).toBe(listed.length);
    for (const [hash, place, path] of listed) {
      expect(hash).toMatch(/^[\da-f]{64} \d+$/);
      expect(place).not.toMatch(/(^|\/)\.\.?(\/|$)|^\//);
      expect(path).toMatch(/^[\w.-]+\/[\w.-]+\/[\da-f]{40}\//);
    }
  });

  it.skipIf(!existsSync(DATA))("has the hashes of the pictures in ../shared/data", () => {
    for (const [hash, place] of listed) {
      const bytes = readFileSync(join(DATA, place));
      expect(`${createHash("sha256").update(bytes).digest("hex")} ${bytes.length}`, place).toBe(hash);
    }
  });
});

/** The script itself, with a mirror on loopback that has the pictures of ../shared/data. */
describe.skipIf(!existsSync(DATA))("fetch-pictures", () => {
  let directory: string;
  let server: Server;
  let mirror: string;
  let requests = 0;
  let spoilt = false;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "tilewright-pictures-"));
    server = createServer((request, response) => {
      requests++;
      const found = listed.find(
        ([, , path]) => `/${path.split("/").map(encodeURIComponent).join("/")}` === request.url,
      );
      if (!found) return void response.writeHead(404).end();
      const bytes = readFileSync(join(DATA, found[1]));
      if (spoilt) bytes[100]! ^= 1;
      response.end(bytes);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(() => {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const run = (out: string, from = mirror) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
      const args = [SCRIPT, "--out", out, "--from", from, "--only", ONLY];
      execFile(process.execPath, args, (error, stdout, stderr) =>
        done({ code: error ? Number(error.code) : 0, stdout, stderr }),
      );
    });

  it("downloads what is missing or damaged, and nothing else", async () => {
    expect(await run(directory)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("2 pictures, 0 were there, 2 downloaded"),
    });
    const names = readdirSync(join(directory, ONLY));
    expect(names.length).toBe(2);
    writeFileSync(join(directory, ONLY, names[0]!), "damaged");
    const before = requests;
    expect((await run(directory)).stdout).toContain("1 were there, 1 downloaded");
    expect(requests).toBe(before + 1);
  });

  it("keeps nothing with another hash, and says which", async () => {
    spoilt = true;
    const out = join(directory, "spoilt");
    const { code, stderr } = await run(out);
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").length).toBe(2);
    expect(stderr).toMatch(/OS-1-detail\.ome\.tif has \d+ bytes with another hash/);
    expect(existsSync(out)).toBe(false);
  });

  it("says that a home cannot be reached", async () => {
    const { code, stderr } = await run(join(directory, "nowhere"), "http://127.0.0.1:9/");
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot be reached: \w+/);
  });
});
