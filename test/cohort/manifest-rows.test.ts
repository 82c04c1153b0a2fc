import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CohortManifestError } from "../../src/cohort/errors.ts";
import { compileGlob, findRows, imagesBelow, isGlob } from "../../src/cohort/find-rows.ts";
import { decodeManifest, readManifest } from "../../src/cohort/manifest-rows.ts";
import { MemoryStore } from "../../src/storage/memory-store.ts";

const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;

function problemsOf(text: string, taken: ReadonlySet<string> = new Set()): readonly string[] {
  try {
    readManifest("m.csv", text, "/data", taken);
  } catch (error) {
    expect(error).toBeInstanceOf(CohortManifestError);
    return (error as CohortManifestError).problems;
  }
  throw new Error("the manifest was taken");
}

describe("a manifest", () => {
  it("keeps every covariate unchanged, whatever its text", () => {
    const cell = fc.string({ unit: "binary", maxLength: 20 }).filter((s) => !s.includes("\r"));
    const rows = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(
        rows,
        fc.constantFrom(",", ";", "\t"),
        fc.constantFrom("\n", "\r\n"),
        (values, comma, end) => {
          const lines = values.map(([a, b], i) => [`s${i}`, `s${i}.svs`, a, b].map(quote).join(comma));
          const text = [["id", "source", "site", "note"].join(comma), ...lines].join(end);
          const read = readManifest("m.csv", text, "/data");
          expect(read.covariates).toEqual(["site", "note"]);
          expect(read.rows.map((row) => row.values)).toEqual(values);
          expect(read.rows.map((row) => row.source)).toEqual(values.map((_, i) => `/data/s${i}.svs`));
        },
      ),
    );
  });

  it("is either parsed or rejected with problems, for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        try {
          readManifest("m.csv", `source,id\n${text}`, "/data");
        } catch (error) {
          expect(error).toBeInstanceOf(CohortManifestError);
        }
      }),
    );
  });

  it("is decoded strictly: names the line in another encoding, and reads it when its encoding is given", () => {
    const text = "source,site\na.svs,Zürich\nb.svs,München\n";
    const latin1 = Buffer.from(text, "latin1");
    expect(() => decodeManifest("m.csv", latin1)).toThrow(
      /line 2: it is not in UTF-8: save it as UTF-8, or name its encoding, for instance --encoding latin1/,
    );
    expect(decodeManifest("m.csv", latin1, "latin1")).toBe(text);
    expect(decodeManifest("m.csv", Buffer.from(text))).toBe(text);
    const utf16 = Buffer.from(`\ufeff${text}`, "utf16le");
    expect(decodeManifest("m.csv", utf16)).toBe(text);
    expect(decodeManifest("m.csv", utf16.swap16())).toBe(text);
    expect(() => decodeManifest("m.csv", latin1, "klingon")).toThrow('there is no encoding "klingon"');
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).filter((s) => s.isWellFormed() && !s.startsWith("\ufeff")),
        (s) => {
          expect(decodeManifest("m.csv", Buffer.from(s))).toBe(s);
        },
      ),
    );
  });

  it("accepts decimal commas when other characters separate columns, and skips empty rows", () => {
    for (const text of [
      "source;id;mpp\na.tif;one;0,5\n\n;;\nb.tif;two;0.25\n",
      "source\tid\tmpp\na.tif\tone\t0,5\n\t\t\nb.tif\ttwo\t0.25\n",
    ]) {
      const { rows } = readManifest("m.csv", text, "/data");
      expect(rows.map(({ id, mpp, line }) => [id, mpp, line])).toEqual([
        ["one", 0.5, 2],
        ["two", 0.25, rows[1]!.line],
      ]);
    }
    expect(problemsOf("source;mpp\na.tif;1.000,5\n")[0]).toMatch(/line 2: mpp is "1.000,5"/);
  });

  it("accepts relative paths, addresses, a pixel size, a mask, and file names as ids", () => {
    const text =
      "\ufeffsource,mpp,mask\na/b.svs,0.25,m.png\nhttps://h/x.tif?sig=1,,\ns3://b/k/y.ndpi,,s3://b/m.png\n";
    expect(readManifest("m.csv", text, "/data").rows).toEqual([
      { id: "b.svs", source: "/data/a/b.svs", mpp: 0.25, mask: "/data/m.png", line: 2, values: [] },
      { id: "x.tif", source: "https://h/x.tif?sig=1", line: 3, values: [] },
      { id: "y.ndpi", source: "s3://b/k/y.ndpi", mask: "s3://b/m.png", line: 4, values: [] },
    ]);
  });

  it("reports every problem with its line", () => {
    const text = [
      "id,source,mpp,note",
      'a,one.svs,,"two',
      'lines"',
      "A,two.svs,,",
      "../x,three.svs,,",
      "b,,,",
      "c,four.svs,-1,",
      "d,five.svs,,x,y",
      "e,ftp://h/six.svs,,",
    ].join("\n");
    const problems = problemsOf(text);
    expect(problems[0]).toBe('line 4: id "A" is already used in line 2');
    expect(problems[1]).toBe('line 5: id "../x" has a path separator in it');
    expect(problems[2]).toBe("line 6: source is empty");
    expect(problems[3]).toMatch(/^line 7: mpp is "-1"/);
    expect(problems[4]).toBe("line 8: 5 columns where the header has 4");
    expect(problems[5]).toMatch(/^line 9: source: .*ftp:\/\//);
    expect(problems).toHaveLength(6);
  });

  it.each([
    ["", /line 1/],
    ["id,path\na,b\n", /no column "source"/],
    ["source,x,x\na,1,2\n", /"x" appears twice/],
    ["source,status\na,1\n", /"status" has the name of one of the table/],
    ["source,\na,1\n", /column 2 has no name/],
    ["source\n", /no rows/],
    ['source\n"a\n', /line 2: a quote is not closed/],
    ["id,source\n.,a.svs\n", /directory's own name/],
    [`id,source\n${"x".repeat(201)},a.svs\n`, /longer than 200/],
    ['id,source\n"a\tb",a.svs\n', /control character/],
  ])("is refused: %j", (text, problem) => {
    expect(problemsOf(text, new Set(["status", "id"])).join("\n")).toMatch(problem);
  });
});

describe("a glob pattern", () => {
  it.each([
    ["d/*.svs", "d/a.svs", true],
    ["d/*.svs", "d/e/a.svs", false],
    ["d/**/*.svs", "d/a.svs", true],
    ["d/**/*.svs", "d/e/f/a.svs", true],
    ["d/a?.svs", "d/ab.svs", true],
    ["d/*.{svs,tif}", "d/a.tif", true],
    ["d/*.{svs,tif}", "d/a.png", false],
    ["d/scan[0-4].svs", "d/scan3.svs", true],
    ["d/scan[0-4].svs", "d/scan5.svs", false],
    ["d/a+(b).*", "d/a+(b).tif", true],
    ["d/a+(b).*", "d/aab.tif", false],
    ["d/!(a).*", "d/b.tif", false],
  ])("%s and %s: %s", (pattern, path, matches) => {
    expect(compileGlob(pattern)(path)).toBe(matches);
    expect(isGlob(pattern)).toBe(true);
  });

  it.each(["d/a.svs", "d/scan (1).svs", "d/a[].svs", "d/{a}.svs"])("%s is a plain name", (name) => {
    expect(isGlob(name)).toBe(false);
  });

  it("treats brackets of an existing folder literally", async () => {
    const folder = mkdtempSync(join(tmpdir(), "glob [a] {b,c}"));
    writeFileSync(join(folder, "1.svs"), "");
    const { rows } = await findRows(join(folder, "*.svs"), new Set(), "");
    expect(rows.map(({ source }) => source)).toEqual([join(folder, "1.svs")]);
    rmSync(folder, { recursive: true });
  });
});

it("a prefix gives one row for a Zarr, one for a folder of DICOM files, and one for each image", async () => {
  const store = new MemoryStore();
  const keys = [
    "p/a.svs",
    "p/b.zarr/0/0",
    "p/b.zarr/.zattrs",
    "p/ct/1.dcm",
    "p/ct/2.dcm",
    "p/notes.txt",
    "q/c.svs",
  ];
  for (const key of keys) await store.put(key, new Uint8Array(1));
  expect(await imagesBelow(store, "p/")).toEqual(["p/a.svs", "p/b.zarr", "p/ct"]);
});
