import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";

const ROOT = new URL("..", import.meta.url).pathname;
const built = existsSync(new URL("../dist/cli/index.js", import.meta.url));

/** What `npm test` has just built, used as an installed package would be. */
describe.skipIf(!built)("the built package (npm run build makes it)", () => {
  it("exports segment() under its name", async () => {
    const script = 'import("tilewright").then((m) => console.log(Object.keys(m).join()))';
    expect(execFileSync(process.execPath, ["-e", script], { cwd: ROOT, encoding: "utf8" }).trim()).toBe(
      "segment",
    );
  });

  it("runs the bundled model from the build", () => {
    const out = execFileSync(process.execPath, ["dist/cli/main.js", "model", "verify", "nuclei"], {
      cwd: ROOT,
      encoding: "utf8",
    });
    expect(out).toMatch(/nuclei .* int4: hashes right/);
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
    expect(paths).toContain("dist/inference/ort-node-worker.js");
    expect(paths.filter((p) => /^(src|test|model|bench)\//.test(p))).toEqual([]);
  });
});
