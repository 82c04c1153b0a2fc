import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startViewServer, type ViewServer } from "../../src/cli/view/view-server.ts";
import { SECURITY_HEADERS } from "../../src/cli/view/web-assets.ts";
import { FsStore } from "../../src/storage/fs-store.ts";

const TOKEN = "a token of some length";
const directory = mkdtempSync(join(tmpdir(), "tilewright-view-server-"));
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256);
let server: ViewServer;
let store: FsStore;

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** A request whose path is sent exactly as given. */
function ask(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: server.url.port,
        path,
        method,
        headers: { authorization: `Bearer ${TOKEN}`, ...headers },
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) }),
        );
      },
    );
    sent.on("error", reject);
    sent.end();
  });
}

beforeAll(async () => {
  for (const name of ["assets/assets", "data/run/labels", "data/secret"])
    mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, "assets/index.html"), "<!doctype html>");
  writeFileSync(join(directory, "assets/assets/app.js"), "1");
  writeFileSync(join(directory, "secret.txt"), "secret");
  writeFileSync(join(directory, "data/secret/file"), "secret");
  writeFileSync(join(directory, "data/run/labels/a b%.bin"), bytes);
  symlinkSync(join(directory, "data/secret"), join(directory, "data/run/link"));
  store = new FsStore(join(directory, "data"));
  server = await startViewServer({
    port: 0,
    token: TOKEN,
    session: { name: "x" },
    roots: new Map([["run", { store, key: "run", directory: store.root }]]),
    assets: join(directory, "assets"),
    log: () => {},
  });
});

afterAll(async () => {
  await server.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const FILE = "/v1/view/data/run/run/labels/a%20b%25.bin";

describe("the server of a view", () => {
  it("serves the runtime of the page from its package, where the app's files lack it", async () => {
    const { status, headers, body } = await ask("/assets/ort-wasm-simd-threaded-DcHrbrbl.wasm");
    expect({ status, type: headers["content-type"] }).toEqual({ status: 200, type: "application/wasm" });
    expect(WebAssembly.validate(new Uint8Array(body))).toBe(true);
    expect((await ask("/assets/ort-wasm-simd-threaded-../x.wasm")).status).toBe(404);
    expect((await ask("/assets/other.wasm")).status).toBe(404);
  });

  it("serves every range as the file holds it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1100), fc.integer({ min: 1, max: 1100 }), async (first, length) => {
        const { status, body, headers } = await ask(FILE, { range: `bytes=${first}-${first + length - 1}` });
        if (first >= bytes.length) return void expect(status).toBe(416);
        expect(status).toBe(206);
        const want = bytes.slice(first, first + length);
        expect(body.equals(want)).toBe(true);
        expect(headers["content-range"]).toBe(`bytes ${first}-${first + want.length - 1}/1000`);
      }),
      { numRuns: 60 },
    );
    expect((await ask(FILE, { range: "bytes=-10" })).body.equals(bytes.slice(-10))).toBe(true);
    expect((await ask(FILE)).body.equals(bytes)).toBe(true);
    const head = await ask(FILE, {}, "HEAD");
    expect([head.headers["content-length"], head.body.length]).toEqual(["1000", 0]);
  });

  it("refuses a range of a file that has changed", async () => {
    expect((await ask(FILE, { "if-match": '"other"' })).status).toBe(412);
  });

  it.each([
    "/v1/view/data/run/secret/file",
    "/v1/view/data/run/run/../secret/file",
    "/v1/view/data/run/run/..%2fsecret/file",
    "/v1/view/data/run/run/%2e%2e/secret/file",
    "/v1/view/data/run/run/labels/../../../secret.txt",
    "/v1/view/data/run/run/link/file",
    "/v1/view/data/run//etc/passwd",
    "/v1/view/data/run/run%00",
    "/v1/view/data/run/run/%zz",
    "/v1/view/data/other/run",
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/assets/%2e%2e/%2e%2e/secret.txt",
  ])("does not leave its roots: %s", async (path) => {
    const { status, body } = await ask(path);
    expect(body.toString()).not.toContain("secret");
    expect(status).toBe(404);
  });

  it("lists only what lies below its root, without links that lead out", async () => {
    const list = async (prefix: string) =>
      JSON.parse((await ask(`/v1/view/list/run?prefix=${prefix}`)).body.toString()) as string[];
    expect(await list("run/")).toEqual(["run/labels/a b%.bin"]);
    expect(await list("")).toEqual([]);
    expect(await list("secret/")).toEqual([]);
    expect(await list("run/../secret/").catch(() => [])).toEqual([]);
  });

  it("asks for its token, and for its own name as the host", async () => {
    for (const authorization of ["", "Bearer wrong", `Bearer ${TOKEN}x`])
      expect((await ask("/v1/view", { authorization })).status).toBe(401);
    expect((await ask("/v1/view")).status).toBe(200);
    expect((await ask("/v1/view", { host: "attacker.example" })).status).toBe(421);
    expect((await ask("/", { host: `attacker.example:${server.url.port}` })).status).toBe(421);
    expect((await ask("/v1/view", {}, "POST")).status).toBe(405);
  });

  it("has the headers that Cloudflare's static assets get", () => {
    const file = readFileSync(new URL("../../web/public/_headers", import.meta.url), "utf8");
    const lines = [...file.matchAll(/^ {2}([\w-]+): (.+)$/gm)].map(([, name, value]) => [name, value]);
    expect(Object.fromEntries(lines)).toEqual(SECURITY_HEADERS);
  });

  it("sends its policy with everything", async () => {
    for (const path of ["/", "/assets/app.js", "/v1/view", FILE, "/v1/none"]) {
      const { headers } = await ask(path);
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["content-security-policy"]).not.toContain("unsafe-inline");
      expect(headers["x-content-type-options"]).toBe("nosniff");
    }
  });
});
