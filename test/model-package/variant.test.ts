import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ModelPackageError } from "../../src/model-package/errors.ts";
import { loadPackage } from "../../src/model-package/load-package.ts";
import { FsStore } from "../../src/storage/fs-store.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";

// Words that every object of the language answers to.
test.each(["none", "constructor", "__proto__", "toString"])(
  "a package has no variant %s",
  async (variant) => {
    const directory = mkdtempSync(join(tmpdir(), "tilewright-variant-"));
    try {
      const store = new FsStore(writePointwisePackage(directory));
      const loading = loadPackage(store, "", "made", { variant });
      await expect(loading).rejects.toThrow(
        new ModelPackageError(`model made has no variant "${variant}"; it has fp32`),
      );
      await store.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
