import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { StorageEvent } from "../../../src/edge/jobs/events/storage-event.ts";
import { matchRules, parseRules, toSourceAddress } from "../../../src/edge/jobs/triggers/rules.ts";
import { HttpError } from "../../../src/service/http-error.ts";

afterEach(() => void vi.restoreAllMocks());

const event = (key: string, over: Partial<StorageEvent> = {}): StorageEvent => ({
  bucket: "scans",
  key,
  etag: "e",
  action: "create",
  provider: "r2",
  ...over,
});
const rules = (list: unknown[], RESULTS_BUCKET = "results-bucket") =>
  parseRules({ RULES: JSON.stringify(list), RESULTS_BUCKET });
const sources = (list: unknown[], e: StorageEvent) => matchRules(rules(list), e).map((r) => r.source);

const EVERYTHING = { name: "everything", bucket: "scans" };

test("no rules start no job", () => {
  for (const RULES of [undefined, "", "[]"])
    expect(matchRules(parseRules({ RULES }), event("a.svs"))).toEqual([]);
});

test("the first matching rule gives a complete job request", () => {
  const list = [
    {
      name: "kidneys",
      bucket: "scans",
      prefix: "kidney/",
      suffix: [".svs", ".TIF"],
      request: {
        model: "kidney",
        variant: "int4",
        mpp: 0.25,
        outputs: ["measurements.csv"],
        settings: { overlapRatio: 0.5 },
      },
    },
    { ...EVERYTHING, request: { callback: "https://lab.example/done" } },
  ];
  for (const key of ["kidney/a.svs", "kidney/b/C.SVS", "kidney/d.tif"]) {
    expect(matchRules(rules(list), event(key))).toEqual([
      {
        source: `r2://scans/${key}`,
        model: "kidney",
        variant: "int4",
        mpp: 0.25,
        outputs: ["measurements.csv"],
        settings: { overlapRatio: 0.5, precision: "u8", tissueMask: true },
      },
    ]);
  }
  for (const key of ["kidney/a.png", "liver/a.svs", "Kidney/a.svs", "xkidney/a.svs"]) {
    expect(matchRules(rules(list), event(key))).toEqual([
      {
        source: `r2://scans/${key}`,
        settings: { precision: "u8", tissueMask: true },
        callback: "https://lab.example/done",
      },
    ]);
  }
});

test("the address of an object depends on the sender of the event", () => {
  expect(toSourceAddress(event("a b#?.svs"))).toBe("r2://scans/a b#?.svs");
  expect(toSourceAddress(event("a", { provider: "s3" }))).toBe("s3://scans/a");
  expect(toSourceAddress(event("a", { provider: "minio" }))).toBe("s3://scans/a");
});

test.each([
  ["another bucket", event("a.svs", { bucket: "scans2" })],
  ["a deletion", event("a.svs", { action: "delete" })],
  ["work of ours", event("work/a.svs")],
  ["an output of ours", event("results/job/labels.ome.tiff")],
  ["a file of a folder that is uploaded", event(`uploads/${"0".repeat(32)}/case/1.dcm`)],
  ["a chunk of a Zarr", event("slides/a.ome.ZARR/0/c/1/2.svs")],
  ["a key that leaves its bucket", event("../a.svs")],
  ["an absolute key", event("/a.svs")],
  ["a control character", event("a\u0007.svs")],
  ["a key that is too long", event(`${"a".repeat(1021)}.svs`)],
])("%s starts no job", (_, e) => {
  expect(sources([EVERYTHING], e)).toEqual([]);
});

test("outputs start no job under any rules", () => {
  const RESULTS_BUCKET = "scans";
  const anyRule = fc.record({
    name: fc.constant("a"),
    bucket: fc.constantFrom("scans", "elsewhere"),
    prefix: fc.constantFrom("", "work/", "results/", "r"),
    suffix: fc.constantFrom([".tiff"], [".svs", ".tiff"]),
  });
  const key = fc.constantFrom("a.tiff", "work/1/a.tiff", "results/1/labels.ome.tiff", "results/a.svs");
  fc.assert(
    fc.property(fc.array(anyRule), fc.constantFrom("scans", "elsewhere"), key, (list, bucket, k) => {
      const started = matchRules(rules(list, RESULTS_BUCKET), event(k, { bucket }));
      if (bucket === RESULTS_BUCKET || k !== "a.tiff") expect(started).toEqual([]);
    }),
  );
});

describe("invalid rules are rejected", () => {
  test.each([
    "not JSON",
    "{}",
    JSON.stringify([{ bucket: "scans" }]),
    JSON.stringify([{ name: "a" }]),
    JSON.stringify([{ ...EVERYTHING, bucket: "a/b" }]),
    JSON.stringify([{ ...EVERYTHING, suffixes: [".svs"] }]),
    JSON.stringify([{ ...EVERYTHING, suffix: ".svs" }]),
    JSON.stringify([{ ...EVERYTHING, suffix: [] }]),
    JSON.stringify([{ ...EVERYTHING, suffix: [""] }]),
    JSON.stringify([{ ...EVERYTHING, request: { source: "r2://scans/other" } }]),
    JSON.stringify([{ ...EVERYTHING, request: { model: "../nuclei" } }]),
    JSON.stringify([{ ...EVERYTHING, request: { settings: { overlapRatio: 1 } } }]),
    JSON.stringify([{ ...EVERYTHING, request: { callback: "ftp://x/" } }]),
    JSON.stringify(Array.from({ length: 101 }, () => EVERYTHING)),
  ])("%s", (RULES) => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect(() => parseRules({ RULES })).toThrow(HttpError);
    expect(() => parseRules({ RULES })).toThrow("RULES must be");
  });
});
