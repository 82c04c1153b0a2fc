import { mkdtempSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { segment } from "../../src/index.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";
import { treeHashes } from "../builders/tree-hashes.ts";

let directory: string;
let model: string;
let file: string;
let server: Server;
let url: string;
/** Bytes sent so far; set to fail the next requests. */
let sent = 0;
let failures = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-http-"));
  file = writeMadeSlide(join(directory, "slide.tiff"), { width: 2500, height: 2500 }).path;
  model = writePointwisePackage(join(directory, "pointwise"));
  const fd = openSync(file, "r");
  const size = statSync(file).size;
  server = createServer((request, response) => {
    const headers = { ETag: '"one"', "Accept-Ranges": "bytes" };
    if (request.method === "HEAD")
      return response.writeHead(200, { ...headers, "Content-Length": size }).end();
    if (failures > 0) {
      failures--;
      return response.writeHead(503).end();
    }
    const [from, to] = /bytes=(\d+)-(\d+)/
      .exec(request.headers.range ?? `bytes=0-${size - 1}`)!
      .slice(1)
      .map(Number) as [number, number];
    const end = Math.min(to, size - 1);
    const bytes = Buffer.alloc(end - from + 1);
    readSync(fd, bytes, 0, bytes.length, from);
    sent += bytes.length;
    response
      .writeHead(206, {
        ...headers,
        "Content-Range": `bytes ${from}-${end}/${size}`,
        "Content-Length": bytes.length,
      })
      .end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/slide.tiff`;
});
afterAll(() => {
  server.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("a slide on a web server", () => {
  it("gives the bytes of the local file through a server that fails sometimes", async () => {
    // Object ids come from the job, which knows its source by the etag: labels are what must agree.
    const outputs = ["labels.ome.zarr", "labels.ome.tiff", "overlay.png"];
    const settings = { model, outputs, threads: 1, tissueMask: false };
    await segment({ ...settings, source: file, out: join(directory, "from-file") });
    failures = 2;
    await segment({ ...settings, source: url, out: join(directory, "from-http") });
    expect(treeHashes(join(directory, "from-http"))).toEqual(treeHashes(join(directory, "from-file")));
  });

  it("is read where the region lies, not whole", async () => {
    sent = 0;
    const out = join(directory, "region");
    const run = await segment({
      source: url,
      model,
      out,
      threads: 1,
      tissueMask: false,
      roi: [600, 600, 150, 150],
    });
    expect(sent).toBeLessThan(statSync(file).size / 3);
    expect(run.bytesRead).toBeLessThanOrEqual(sent);
  });
});
