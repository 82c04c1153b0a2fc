import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadModel } from "../../src/local/resolve-model.ts";
import { ModelPackageError } from "../../src/model-package/errors.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";

let directory: string;
beforeEach(() => {
  directory = writePointwisePackage(mkdtempSync(join(tmpdir(), "tilewright-half-")), { window: 8 });
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Adds a companion of these bytes to the package; `change` is what model.json then says otherwise. */
function addHalf(bytes: Uint8Array, change: Record<string, unknown> = {}): void {
  const path = join(directory, "model.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  manifest.variants.fp32.half = { path: "half.onnx", byteLength: bytes.length, sha256, ...change };
  writeFileSync(path, JSON.stringify(manifest));
  writeFileSync(join(directory, "half.onnx"), bytes);
}

describe("the companion in half precision of a package", () => {
  it("is read on request and does not change the identity of the package", async () => {
    const before = await loadModel(directory, { half: true });
    expect(before.half).toBeUndefined();
    addHalf(Uint8Array.of(1, 2, 3));
    const model = await loadModel(directory, { half: true });
    expect(model.half).toMatchObject({ path: "half.onnx" });
    expect([...model.half!.bytes]).toEqual([1, 2, 3]);
    expect(model.hash).toBe(before.hash);
    expect((await loadModel(directory)).half).toBeUndefined();
  });

  it("is verified by its hash only if it is requested", async () => {
    addHalf(Uint8Array.of(1, 2, 3));
    writeFileSync(join(directory, "half.onnx"), Uint8Array.of(1, 2, 4));
    await loadModel(directory);
    const failed = loadModel(directory, { half: true });
    await expect(failed).rejects.toThrow(ModelPackageError);
    await expect(failed).rejects.toThrow("the hash of half.onnx is not the one in model.json");
  });

  it("may be left out of a copy of the package, which then has none", async () => {
    addHalf(Uint8Array.of(1, 2, 3), { path: "left-out.onnx" });
    expect((await loadModel(directory, { half: true })).half).toBeUndefined();
  });

  it.each([
    ["another length", { byteLength: 2 }, "has 3 bytes, model.json says 2"],
    ["a path that leads out", { path: "../half.onnx" }, "must be a plain relative path"],
  ])("is rejected with %s", async (_, change, sentence) => {
    addHalf(Uint8Array.of(1, 2, 3), change);
    await expect(loadModel(directory, { half: true })).rejects.toThrow(sentence);
  });
});
