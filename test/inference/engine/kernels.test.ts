import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BUILDS, compileKernels } from "../../../infra/engine/build-kernels.ts";

const ENGINE = join(import.meta.dirname, "../../../src/inference/engine");

describe.each(BUILDS)("the kernels $file", ({ file, features }) => {
  const bytes = readFileSync(join(ENGINE, file));

  it("are what their sources compile to: npm run build:kernels", async () => {
    expect(Buffer.from(await compileKernels(features)).equals(bytes)).toBe(true);
  });

  it("are small, and ask for plain memory", () => {
    expect(bytes.length).toBeLessThan(60_000);
    const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes));
    expect(imports).toEqual([{ module: "env", name: "memory", kind: "memory" }]);
    // A module that imports shared memory takes no other.
    const memory = new WebAssembly.Memory({ initial: 1 });
    expect(() => new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } })).not.toThrow();
  });
});
