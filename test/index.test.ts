import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, expectTypeOf, it } from "vitest";
import * as api from "../src/index.ts";
import { makeTiff } from "./builders/make-tiff.ts";

describe("the public API", () => {
  it("exports exactly these names", () => {
    expect(Object.keys(api).toSorted()).toMatchInlineSnapshot(`
      [
        "CohortManifestError",
        "DirectoryLockedError",
        "ImageFormatError",
        "ImageNotFoundError",
        "InferenceError",
        "JobClient",
        "JobError",
        "JobFailedError",
        "LabelStoreMismatchError",
        "ModelPackageError",
        "NoTissueError",
        "ObjectChangedError",
        "OutputError",
        "RemoteError",
        "ServiceError",
        "StorageError",
        "TilewrightError",
        "cohort",
        "inspect",
        "isTilewrightError",
        "loadModel",
        "openAddress",
        "openImage",
        "plan",
        "segment",
      ]
    `);
  });

  it("recognizes every error class", () => {
    const classes = Object.entries(api).filter(
      ([name]) => name.endsWith("Error") && name !== "isTilewrightError",
    );
    expect(classes.length).toBe(16);
    for (const [name, type] of classes) {
      const error = Object.create((type as { prototype: object }).prototype);
      expect(error, name).toBeInstanceOf(api.TilewrightError);
      expect(api.isTilewrightError(error), name).toBe(true);
      expect((type as { name: string }).name).toBe(name);
    }
  });

  it("recognizes the errors of another copy of the package", async () => {
    const copy = (await import("../src/image/tilewright-error.ts?copy" as string)) as typeof api;
    expect(copy.TilewrightError).not.toBe(api.TilewrightError);
    class Other extends copy.TilewrightError {}
    expect(new Other("x")).not.toBeInstanceOf(api.TilewrightError);
    expect(api.isTilewrightError(new Other("x"))).toBe(true);
  });

  it("recognizes no other error", () => {
    for (const other of [
      new Error("x"),
      new TypeError("x"),
      new DOMException("x", "AbortError"),
      "x",
      undefined,
    ])
      expect(api.isTilewrightError(other)).toBe(false);
  });

  it("narrows an error to its classes, whose names tell them apart", () => {
    const error: unknown = new api.JobError("x");
    if (!api.isTilewrightError(error)) throw new Error("not narrowed");
    expectTypeOf(error).toEqualTypeOf<api.TilewrightError>();
    expect(error.name).toBe("JobError");
  });

  it("opens an image by its path and reads a region", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tilewright-api-"));
    try {
      const path = join(directory, "grey.tif");
      const pixels = { data: new Uint8Array(32).fill(7), shape: [4, 8, 1] };
      writeFileSync(path, makeTiff([{ image: pixels }]));
      const image = await api.openImage(path);
      const { data, shape } = await image.readRegion(0, { origin: [1, 2], size: [2, 3] });
      expect(shape).toEqual([2, 3, 1]);
      expect([...data]).toEqual(new Array(6).fill(7));
      await image.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("segment", () => {
  it("throws a ModelPackageError for a model that is not there", async () => {
    const run = api.segment({
      source: "none.tif",
      model: "no-such-model",
      out: join(tmpdir(), "tilewright-none"),
    });
    await expect(run).rejects.toBeInstanceOf(api.ModelPackageError);
  });
});
