import { describe, expect, it } from "vitest";
import { absoluteCohort, parseSnapshot } from "../../src/cohort/cohort-snapshot.ts";

const snapshot = {
  formatVersion: 1,
  cohort: "/data/cohort.csv",
  store: "/data/out/jobs",
  slidesAtOnce: 2,
  covariates: [],
  rows: [{ id: "a", source: "/data/a.tif", values: [] }],
  keys: ["k"],
  classes: ["background", "nucleus"],
  kinds: ["nucleus"],
  isVolume: false,
};

describe("cohort.json", () => {
  it("keeps the threads of a cohort that release 0.1 wrote as concurrency", () => {
    const { options } = parseSnapshot(
      JSON.stringify({ ...snapshot, options: { model: "m", concurrency: 3 } }),
    );
    expect(options).toEqual({ model: "m", threads: 3 });
  });

  it("keeps threads as they are written now, and sets none where none are written", () => {
    const read = (options: object) => parseSnapshot(JSON.stringify({ ...snapshot, options })).options;
    expect(read({ model: "m", threads: 2 })).toEqual({ model: "m", threads: 2 });
    expect(read({ model: "m" })).toEqual({ model: "m" });
  });

  it("rejects another format version", () => {
    const json = JSON.stringify({ ...snapshot, formatVersion: 2, options: { model: "m" } });
    expect(() => parseSnapshot(json)).toThrow();
  });
});

it("keeps the address of a bucket, and makes paths absolute", () => {
  expect(absoluteCohort("s3://bucket/prefix")).toBe("s3://bucket/prefix");
  expect(absoluteCohort("file:///data/cohort.csv")).toBe("/data/cohort.csv");
  expect(absoluteCohort("cohort.csv")).toBe(`${process.cwd()}/cohort.csv`);
});
