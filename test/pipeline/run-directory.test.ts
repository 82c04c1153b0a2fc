import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OUTPUTS } from "../../src/image/output-targets.ts";
import { RunDirectory } from "../../src/local/run-directory.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-run-directory-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let places = 0;
const place = () => {
  const path = join(directory, `out-${places++}`);
  mkdirSync(path);
  return path;
};

/** A run that writes some outputs, without computing anything. */
function run(path: string, job: string, outputs: readonly string[], flags: { force?: boolean } = {}) {
  RunDirectory.check(path, flags);
  const opened = RunDirectory.open(path, job, flags) as RunDirectory;
  try {
    for (const name of outputs) writeFileSync(join(opened.work, name), `${job} ${name}`);
    opened.publish(outputs, JSON.stringify({ job, outputs: outputs.map((name) => ({ name })) }));
  } finally {
    opened.release();
  }
}

describe("what no run wrote", () => {
  it.each([...OUTPUTS, "run.json"])("is never replaced without --force: %s", (name) => {
    const path = place();
    writeFileSync(join(path, name), "somebody's work");
    for (const flags of [{}, { resume: true }]) {
      expect(() => RunDirectory.check(path, flags)).toThrow(
        `holds ${name}, which no run wrote: choose another --out, or --force to replace it`,
      );
      expect(() => RunDirectory.open(path, "job", flags)).toThrow("which no run wrote");
    }
    expect(readFileSync(join(path, name), "utf8")).toBe("somebody's work");
    run(path, "job", ["measurements.csv"], { force: true });
    // Asked for is what this run writes, and no more.
    const left = name === "measurements.csv" || name === "run.json" ? undefined : "somebody's work";
    if (left) expect(readFileSync(join(path, name), "utf8")).toBe(left);
  });

  it.each([...OUTPUTS, "run.json"])(
    "is never replaced without --force if it is a broken link: %s",
    (name) => {
      const path = place();
      const away = join(directory, "a disk that is not mounted", name);
      symlinkSync(away, join(path, name));
      expect(() => run(path, "job", ["measurements.csv", "overlay.png"])).toThrow("which no run wrote");
      expect(readlinkSync(join(path, name))).toBe(away);
    },
  );

  it.each(["a file", "a link to nowhere"])("in place of the work directory is rejected: %s", (kind) => {
    const path = place();
    if (kind === "a file") writeFileSync(join(path, ".tilewright"), "mine");
    else symlinkSync(join(directory, "nowhere"), join(path, ".tilewright"));
    expect(() => run(path, "job", ["measurements.csv"], { force: true })).toThrow(
      "is not a directory, and runs keep their work there: move it or choose another --out",
    );
    expect(readdirSync(path)).toEqual([".tilewright"]);
  });

  it("reports a broken link as --out, and follows a valid one", () => {
    const path = join(place(), "link");
    const target = join(directory, "far away");
    symlinkSync(target, path);
    for (const flags of [{}, { force: true }, { resume: true }]) {
      expect(() => RunDirectory.check(path, flags)).toThrow("is a broken link");
    }
    mkdirSync(target);
    run(path, "job", ["measurements.csv"]);
    expect(readdirSync(target).sort()).toEqual(["measurements.csv", "run.json"]);
    expect(readlinkSync(path)).toBe(target);
  });

  it("stays when another run replaces the finished one", () => {
    const path = place();
    run(path, "first", ["measurements.csv", "overlay.png"]);
    writeFileSync(join(path, "notes.txt"), "mine");
    writeFileSync(join(path, "labels.ome.tiff"), "mine");
    run(path, "second", ["measurements.csv"], { force: true });
    expect(readdirSync(path).sort()).toEqual([
      "labels.ome.tiff",
      "measurements.csv",
      "notes.txt",
      "run.json",
    ]);
    expect(readFileSync(join(path, "labels.ome.tiff"), "utf8")).toBe("mine");
    expect(readFileSync(join(path, "measurements.csv"), "utf8")).toBe("second measurements.csv");
  });

  it("stops a run from overwriting it, and the work is kept", () => {
    const path = place();
    const opened = RunDirectory.open(path, "job", {}) as RunDirectory;
    writeFileSync(join(opened.work, "objects.geojson"), "{}");
    writeFileSync(join(path, "objects.geojson"), "written meanwhile");
    expect(() => opened.publish(["objects.geojson"], "{}")).toThrow("holds objects.geojson");
    opened.release();
    expect(readFileSync(join(path, "objects.geojson"), "utf8")).toBe("written meanwhile");
    expect(existsSync(join(path, ".tilewright", "objects.geojson"))).toBe(true);
  });

  it("does not include outputs of an interrupted publishing", () => {
    const path = place();
    const work = join(path, ".tilewright");
    mkdirSync(work);
    writeFileSync(join(path, "overlay.png"), "new");
    writeFileSync(join(work, "measurements.csv"), "new");
    writeFileSync(join(work, "job"), "job");
    const manifest = JSON.stringify({
      job: "job",
      outputs: [{ name: "overlay.png" }, { name: "measurements.csv" }],
    });
    writeFileSync(
      join(work, "publishing.json"),
      JSON.stringify({ names: ["overlay.png", "measurements.csv"], earlier: [], manifest }),
    );
    RunDirectory.check(path, { resume: true });
    expect(RunDirectory.open(path, "job", { resume: true })).toBe(manifest);
    expect(readFileSync(join(path, "measurements.csv"), "utf8")).toBe("new");
  });
});

describe("a directory for results", () => {
  it.each([
    ["", "--out is empty"],
    [" ", "--out is empty"],
    ["s3://bucket/key", "not to s3://"],
    ["https://host/x", "not to https://"],
    ["file:///tmp/x", "not to file://"],
  ])("is a directory of this machine, not %j", (path, sentence) => {
    expect(() => RunDirectory.check(path, { force: true })).toThrow(sentence);
  });
});
