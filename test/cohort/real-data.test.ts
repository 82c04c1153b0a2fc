import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCohort } from "../../src/cohort/run-cohort.ts";
import { readTable, writeManifest } from "./make-cohort.ts";

const data = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-cohort-real-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.skipIf(!existsSync(data))("real files", () => {
  it("slides of several scanners, some of them broken, make one table", {
    timeout: 300_000,
  }, async () => {
    const below = (folder: string) =>
      readdirSync(join(data, "slides", folder))
        .filter((name) => /\.(svs|tiff?|ndpi)$/i.test(name))
        .map((name) => join(data, "slides", folder, name));
    const good = [...below("aperio-jpeg"), ...below("ome-tiff")];
    const broken = below("broken").slice(0, 4);
    const lines = [...good, ...broken].map((path, i) => `"r${i}","${path}",0.5`);
    const out = join(directory, "slides");
    await runCohort({
      cohort: writeManifest(join(directory, "slides.csv"), ["id,source,mpp", ...lines]),
      model: "nuclei",
      out,
      roi: [0, 0, 300, 300],
      tissueMask: false,
    });
    const rows = readTable(out);
    expect(rows).toHaveLength(good.length + broken.length);
    for (const [i, row] of rows.entries()) {
      if (i < good.length) {
        expect(row.status, row.reason).toBe("done");
        expect(Number(row.coverage)).toBe(1);
        expect(row.count_nucleus ?? row[Object.keys(row).find((k) => k.startsWith("count_"))!]).toMatch(
          /^\d+$/,
        );
      } else if (row.status === "failed") {
        expect(row.reason).not.toContain(data);
        expect(row.reason!.length).toBeGreaterThan(10);
      }
    }
    expect(readFileSync(join(out, "report.html"), "utf8")).not.toContain(data);
  });

  it("volumes make a cohort of their own", { timeout: 300_000 }, async () => {
    const images = join(data, "vol-msd-hippocampus", "images");
    const few = readdirSync(images)
      .filter((name) => name.endsWith(".nii.gz"))
      .slice(0, 3);
    const out = join(directory, "volumes");
    const result = await runCohort({
      cohort: writeManifest(join(directory, "volumes.csv"), [
        "source",
        ...few.map((name) => join(images, name)),
      ]),
      model: "hippocampus",
      out,
    });
    expect(readTable(out).map((row) => row.reason)).toEqual(few.map(() => ""));
    expect(result).toMatchObject({ rows: 3, done: 3, failed: 0 });
    expect(Object.keys(readTable(out)[0]!).some((name) => name.startsWith("volume_mm3_"))).toBe(true);
  });
});
