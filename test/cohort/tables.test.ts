import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { robustScores } from "../../src/cohort/flags.ts";
import { partitionName, writeObjectTables } from "../../src/cohort/object-tables.ts";
import { ParquetFile } from "../../src/cohort/parquet.ts";
import { reportHtml } from "../../src/cohort/report.ts";
import type { SlideMetrics } from "../../src/cohort/slide-metrics.ts";
import { type RowOutcome, type TableShape, tableCells, tableColumns, toCsv } from "../../src/cohort/table.ts";
import { shrink } from "../../src/cohort/thumbnails.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-tables-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const shape: TableShape = {
  covariates: ["site"],
  classes: ["ground", "cell"],
  kinds: ["cell"],
  isVolume: false,
};

function metrics(n: number, own: Partial<SlideMetrics> = {}): SlideMetrics {
  return {
    mpp: 0.5,
    level: 0,
    windows: 100,
    domainDistance: undefined,
    outOfDomain: false,
    tissueWarning: false,
    tissueFraction: 0.5,
    seamScore: 1 + n / 1000,
    disagreement: 0.01,
    coverage: 0.5,
    analysedAreaMm2: 2,
    focus: 0.5 + n / 1000,
    intensity: 0.5 + n / 1000,
    classes: new Map([["cell", { fraction: 0.25, areaUm2: 100.5 }]]),
    kinds: new Map([["cell", { count: 10 + n, densityPerMm2: 5, meanAreaUm2: 10, medianAreaUm2: 9 }]]),
    seconds: 2,
    bytesRead: 5e9,
    bytesWritten: 7,
    cost: 0.125,
    outputs: new Set(),
    ...own,
  };
}

function outcomes(
  values: readonly string[],
  own: (n: number) => Partial<SlideMetrics> = () => ({}),
): RowOutcome[] {
  return values.map((value, n) => ({
    row: { id: `s${n}`, source: `/secret/place/s${n}.svs`, values: [value] },
    ...(n % 5 === 4
      ? { status: "failed" as const, code: "unreadable", reason: value }
      : { status: "done" as const, job: `j${n}`, metrics: metrics(n, own(n)) }),
  }));
}

describe("the table", () => {
  it("has the same rows as CSV and as Parquet, one for each row of the manifest, for any values", async () => {
    const cell = fc.string({ unit: "grapheme", maxLength: 12 }).filter((s) => !/\p{Surrogate}/u.test(s));
    const file = join(directory, "cohort.parquet");
    await fc.assert(
      fc.asyncProperty(fc.array(cell, { minLength: 1, maxLength: 12 }), async (values) => {
        const columns = tableColumns(shape);
        const cells = tableCells(shape, outcomes(values));
        const csv = parse(toCsv(columns, cells), { columns: true }) as Record<string, string>[];
        const table = new ParquetFile(file, columns);
        for (const row of cells) table.add(row);
        table.finish();
        const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file) });
        expect(rows).toHaveLength(values.length);
        rows.forEach((row, n) => {
          for (const { name } of columns) {
            const value = row[name];
            expect(value === null || value === undefined ? "" : String(value), name).toBe(csv[n]![name]);
          }
          expect(row.site).toBe(values[n]);
        });
        expect(existsSync(`${file}.partial`)).toBe(false);
      }),
      { numRuns: 30 },
    );
  });

  it("flags outliers by a robust score, and none among few slides", () => {
    fc.assert(
      fc.property(
        // In steps: smaller differences would be lost in a shift.
        fc.array(
          fc.integer({ min: -10_000, max: 10_000 }).map((n) => n / 1000),
          { minLength: 8, maxLength: 30 },
        ),
        fc.double({ min: 0.1, max: 100, noNaN: true }),
        fc.double({ min: -50, max: 50, noNaN: true }),
        (values, scale, shift) => {
          const scores = robustScores(values);
          const moved = robustScores(values.map((v) => v * scale + shift));
          scores.forEach((z, i) => {
            if (z === undefined || moved[i] === undefined) return;
            expect(Math.abs(moved[i] - z)).toBeLessThan(1e-6 * Math.max(1, Math.abs(z)));
          });
        },
      ),
    );
    const many = outcomes(
      Array.from({ length: 20 }, () => ""),
      (n) => (n === 3 ? { focus: 0.01, seamScore: 9, mpp: 1, tissueFraction: 0.001 } : {}),
    );
    const at = tableColumns(shape).findIndex((c) => c.name === "flags");
    const flags = tableCells(shape, many).map((row) => row[at]);
    expect(flags[3]).toBe("little-tissue seam-outlier focus-outlier other-spacing");
    expect(flags.filter((_, n) => n !== 3).every((f) => f === undefined)).toBe(true);
    expect(robustScores([1, 2, 3, 100])).toEqual([undefined, undefined, undefined, undefined]);
  });
});

const HEAD = "level,source,class,number,id,area_px,area_um2,centroid_x_px\r\n";

describe("object tables", () => {
  const job = (name: string, objects: number) => {
    const place = join(directory, "jobs", name);
    mkdirSync(place, { recursive: true });
    const rows = Array.from(
      { length: objects },
      (_, i) => `object,"a,b",cell,${i},u${i},${i * 2},${i / 4},\r\n`,
    );
    writeFileSync(
      join(place, "measurements.csv"),
      `${HEAD}slide,"a,b",,,,9,,\r\n${rows.join("")}class,x,cell,,,1,,\r\n`,
    );
    return place;
  };

  it("follow the done slides: new ones are added, changed ones replaced, others removed", async () => {
    const root = join(directory, "objects");
    const a = { id: "a b/ü", job: "one", directory: job("one", 3) };
    await writeObjectTables(root, [a, { id: "007", job: "two", directory: job("two", 0) }]);
    const read = async (id: string) =>
      parquetReadObjects({ file: await asyncBufferFromFile(join(root, partitionName(id), "part.parquet")) });
    const rows = await read(a.id);
    expect(rows.map((r) => [r.slide_id, r.object_id, r.area_px, r.area_um2, r.perimeter_um])).toEqual([
      ["a b/ü", "u0", 0n, 0, null],
      ["a b/ü", "u1", 2n, 0.25, null],
      ["a b/ü", "u2", 4n, 0.5, null],
    ]);
    expect(await read("007")).toEqual([]);
    await writeObjectTables(root, [{ ...a, job: "three", directory: job("three", 5) }]);
    expect(await read(a.id)).toHaveLength(5);
    expect(readdirSync(root).filter((n) => n.startsWith("id="))).toEqual([partitionName(a.id)]);
    // A deleted folder is made again.
    rmSync(join(root, partitionName(a.id)), { recursive: true });
    await writeObjectTables(root, [{ ...a, job: "three", directory: job("three", 5) }]);
    expect(await read(a.id)).toHaveLength(5);
  });

  it("keep all objects when there are more than fit in memory at a time", async () => {
    const root = join(directory, "large");
    await writeObjectTables(root, [{ id: "l", job: "large", directory: job("large", 120_001) }]);
    const file = await asyncBufferFromFile(join(root, "id=l", "part.parquet"));
    const rows = await parquetReadObjects({ file, columns: ["number"] });
    expect(rows).toHaveLength(120_001);
    expect(rows.at(-1)!.number).toBe(120_000n);
  });

  it("are read by pandas and DuckDB, with the manifest's ids", async ({ skip }) => {
    const python = process.env.TILEWRIGHT_PYTHON ?? "python3";
    const script = join(import.meta.dirname, "read_tables.py");
    try {
      execFileSync(python, [script, "--can-run"], { stdio: "ignore" });
    } catch {
      return skip(`${python} lacks the packages of ${script}; name one that has them in TILEWRIGHT_PYTHON`);
    }
    const root = join(directory, "read");
    mkdirSync(root);
    const ids = ["007", "a b", "größe & %41", "x=y"];
    const done = ids.map((id, n) => ({ id, job: `r${n}`, directory: job(`r${n}`, n + 1) }));
    await writeObjectTables(join(root, "objects"), done);
    const table = new ParquetFile(join(root, "cohort.parquet"), tableColumns(shape));
    const rows = ids.map(
      (id, n): RowOutcome => ({
        row: { id, source: `/d/${id}`, values: [`v${n}`] },
        status: "done",
        job: `r${n}`,
        metrics: metrics(n),
      }),
    );
    for (const row of tableCells(shape, [
      ...rows,
      { row: { id: "late", source: "/d/l", values: [""] }, status: "pending" },
    ]))
      table.add(row);
    table.finish();
    const read = JSON.parse(execFileSync(python, [script, root], { encoding: "utf8" }));
    const counts = Object.fromEntries(ids.map((id, n) => [id, n + 1]));
    expect(read.pandas).toEqual(counts);
    expect(read.duckdb).toEqual(counts);
    expect(read.cohort).toEqual([
      ...ids.map((id, n) => [id, "done", `v${n}`, 10 + n]),
      ["late", "pending", "", null],
    ]);
  });
});

describe("the report", () => {
  it("contains no requests and no scripts, and escapes every text", () => {
    const evil = `"><script>alert(1)</script><img src=https://x.example/y onerror='a()'>&`;
    const rows = outcomes(Array.from({ length: 12 }, () => evil)).map((o) => ({
      ...o,
      row: { ...o.row, id: `${evil}${o.row.id}` },
    }));
    const html = reportHtml(
      { title: evil, model: evil, at: "now" },
      { ...shape, kinds: ["cell"], classes: [evil] },
      rows,
      () => new Uint8Array([1, 2, 3]),
    );
    expect(html).toContain("default-src 'none'; img-src data:; style-src 'unsafe-inline'");
    const elements = [...html.matchAll(/<([a-z][a-z0-9]*)\b([^>]*)>/gi)];
    expect(new Set(elements.map((m) => m[1]!.toLowerCase())).has("script")).toBe(false);
    expect(elements.length).toBeGreaterThan(20);
    for (const [, name, attributes] of elements) {
      // Outside of quotes there are only names: texts of others are inside quotes.
      const named = [...attributes!.matchAll(/\s([\w-]+)="([^"]*)"/g)];
      expect(named.map(([whole]) => whole).join(""), name).toBe(attributes!.replace(/\s*\/$/, ""));
      for (const [, attribute, value] of named) {
        expect(attribute, name).not.toMatch(/^on/i);
        if (attribute === "src") expect(value).toMatch(/^data:image\/png;base64,/);
        // Links lead to files beside the report, for any name of a scan.
        if (attribute === "href") expect(value).toMatch(/^scans\/[\w%.!~*()&#;-]+\/(overlay\.png)?$/);
      }
    }
    expect(html).not.toContain("/secret/place");
    expect(html).toContain("unreadable");
  });

  it("is accessible: pictures, charts and columns have labels", () => {
    const rows = outcomes(
      Array.from({ length: 12 }, () => ""),
      (n) => (n === 3 ? { tissueFraction: 0 } : {}),
    );
    const html = reportHtml({ title: "t", model: "m", at: "now" }, shape, rows, () => new Uint8Array(9));
    const all = (element: RegExp) => [...html.matchAll(element)].map(([text]) => text);
    expect(all(/<img [^>]*>/g).length).toBeGreaterThan(0);
    for (const img of all(/<img [^>]*>/g)) expect(img).toMatch(/alt="s\d+ with/);
    for (const svg of all(/<svg [^>]*>/g))
      expect(svg).toMatch(/role="img" aria-label="[^"]+: \d+ scans, from/);
    expect(all(/<table>/g).length).toBe(2);
    expect(all(/<table><thead><tr><th scope="col">/g).length).toBe(2);
    for (const th of all(/<th[ >][^>]*/g)) expect(th).toContain('scope="col"');
    expect(all(/<main>/g)).toHaveLength(1);
  });

  it("names the source of a failure if its id does not", () => {
    const failed = outcomes(["", ""]).map((o) => ({
      ...o,
      status: "failed" as const,
      code: "c",
      reason: "r",
    }));
    const html = (rows: typeof failed) =>
      reportHtml({ title: "t", model: "m", at: "now" }, shape, rows, () => undefined);
    expect(html(failed.map((o) => ({ ...o, row: { ...o.row, source: `/a/${o.row.id}` } })))).not.toContain(
      ">source<",
    );
    expect(html(failed.map((o) => ({ ...o, row: { ...o.row, source: "/a/b.svs" } })))).toContain(
      "<td>b.svs</td>",
    );
  });

  it("shows a bounded number of pictures, flagged ones first", () => {
    const rows = outcomes(
      Array.from({ length: 600 }, () => ""),
      (n) => (n === 598 ? { tissueFraction: 0 } : {}),
    );
    const html = reportHtml({ title: "t", model: "m", at: "now" }, shape, rows, () => new Uint8Array(9));
    const ids = [...html.matchAll(/<img[^>]*><\/a><figcaption><a[^>]*>(s\d+)/g)].map((m) => m[1]);
    expect(ids).toHaveLength(200);
    expect(ids.slice(0, 2)).toEqual(["s598", "s0"]);
    const heavy = reportHtml(
      { title: "t", model: "m", at: "now" },
      shape,
      rows,
      () => new Uint8Array(1 << 20),
    );
    expect([...heavy.matchAll(/<img/g)]).toHaveLength(24);
  });

  it("shrinks pictures to the mean of the pixels that each pixel covers", () => {
    const data = new Uint8Array(4 * 2 * 3).map((_, i) => Math.floor(i / 3) * 10);
    expect(shrink({ data, shape: [2, 4, 3] }, 2)).toEqual({
      shape: [1, 2, 3],
      data: new Uint8Array([25, 25, 25, 45, 45, 45]),
    });
    expect(shrink({ data, shape: [2, 4, 3] }, 100).shape).toEqual([2, 4, 3]);
  });
});
