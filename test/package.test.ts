import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as api from "../src/index.ts";
import { makeTiff } from "./builders/make-tiff.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const built = existsSync(new URL("../dist/src/index.js", import.meta.url));

/** What `npm test` has just built, used as an installed package would be. */
describe.skipIf(!built)("the built package (npm run build makes it)", () => {
  it("exports what src/index.ts exports", async () => {
    const script = 'import("tilewright").then((m) => console.log(Object.keys(m).join()))';
    const exported = execFileSync(process.execPath, ["-e", script], { cwd: ROOT, encoding: "utf8" });
    expect(exported.trim().split(",").toSorted()).toEqual(Object.keys(api).toSorted());
  });

  it.each(readdirSync(new URL("models", `file://${ROOT}`)))(
    "runs every variant of the bundled %s on both runtimes, and its companion in half precision",
    (name) => {
      const out = execFileSync(
        process.execPath,
        ["dist/src/cli/main.js", "model", "verify", name, "--json"],
        {
          cwd: ROOT,
          encoding: "utf8",
        },
      );
      const results: { variant: string; runtime: string }[] = JSON.parse(out);
      const found = results.map(
        (r) => `${r.variant} ${/engine|fp16|cpu|wasm/.exec(r.runtime.replace(/cpu(?= fp16)/, ""))![0]}`,
      );
      const both = ["cpu", "engine", "wasm"];
      expect(found).toEqual([
        ...["int4 cpu", "int4 engine", "int4 wasm", "int4 fp16"],
        ...both.map((runtime) => `int4-edge ${runtime}`),
      ]);
    },
  );

  it("brings the service up", async () => {
    const state = mkdtempSync(join(tmpdir(), "tilewright-package-"));
    const args = ["dist/src/cli/main.js", "up", "--port", "0", "--data-dir", state];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      let said = "";
      const url = await new Promise<string>((resolve, reject) => {
        const hear = (bytes: Buffer) => {
          said += bytes;
          const at = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
          if (at) resolve(at[0]);
        };
        child.stdout.on("data", hear);
        child.stderr.on("data", hear);
        child.once("close", (code) => reject(new Error(`it ended with ${code}: ${said}`)));
      });
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
    } finally {
      child.kill("SIGTERM");
      await ended;
      rmSync(state, { recursive: true, force: true });
    }
  });

  it("reads the samples of a TIFF: what the compiler writes is not always what it was given", () => {
    const directory = mkdtempSync(join(tmpdir(), "tilewright-package-"));
    try {
      const data = Uint8Array.from({ length: 20 * 30 }, (_, i) => (i * 7) % 251);
      const file = join(directory, "made.tif");
      writeFileSync(file, makeTiff([{ image: { data, shape: [20, 30, 1] } }]));
      const script = `
        const { openImage } = await import("./dist/src/readers/open-image.js");
        const { FsStore } = await import("./dist/src/storage/fs-store.js");
        const image = await openImage(new FsStore(${JSON.stringify(directory)}), "made.tif");
        const { data } = await image.readRegion(0, { origin: [0, 0], size: [20, 30] });
        console.log(JSON.stringify([...data]));`;
      const args = ["--input-type=module", "-e", script];
      const out = execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
      expect(JSON.parse(out)).toEqual([...data]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("packs models and build, no tests and no sources", () => {
    const [{ files }] = JSON.parse(
      execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
        cwd: ROOT,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
    const paths: string[] = files.map((f: { path: string }) => f.path);
    expect(paths).toContain("models/nuclei/model.json");
    expect(paths).toContain("dist/src/inference/node/ort-node-worker.js");
    expect(paths.filter((p) => /^(src|test|model|bench)\//.test(p))).toEqual([]);
  });
});
