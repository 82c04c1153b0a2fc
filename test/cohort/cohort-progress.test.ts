import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CohortPace, cohortPrinter } from "../../src/cli/terminal/cohort-progress.ts";
import { linkScans } from "../../src/cohort/scan-links.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-progress-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const windows = (id: string, windowsDone: number, windowsTotal: number) =>
  ({ type: "windows", id, windowsDone, windowsTotal }) as const;
const done = (id: string) =>
  ({ type: "slide", id, state: "done", found: false, seconds: 1, windows: 10, left: 1 }) as const;

describe("the progress of a cohort", () => {
  it("covers all scans: the rest counts as the mean of those that were opened", () => {
    let now = 0;
    const pace = new CohortPace(() => now);
    pace.hear({ type: "cohort", rows: 5, kind: "manifest", done: 1, failed: 0, toDo: 4 });
    pace.hear(windows("a", 0, 100));
    now = 10_000;
    pace.hear(windows("a", 100, 100));
    pace.hear(done("a"));
    pace.hear(windows("b", 20, 200));
    // 120 windows in 10 s; 180 are left of b, and two scans of 150 each were not opened.
    expect(pace.windowsDone).toBe(120);
    expect(pace.windowsInSight).toBe(600);
    expect(pace.text()).toBe("1/4 scans; b 20/200 windows; 12.0 windows/s, 40 s left");
  });

  it("counts only timed windows: none of an earlier run, and no rate before the first", () => {
    let now = 0;
    const pace = new CohortPace(() => now);
    pace.hear({ type: "cohort", rows: 1, kind: "manifest", done: 0, failed: 0, toDo: 1 });
    pace.hear(windows("a", 60, 100));
    now = 0.1;
    expect(pace.text()).toBe("0/1 scans; a 60/100 windows");
    now = 5000;
    pace.hear(windows("a", 80, 100));
    expect(pace.text()).toBe("0/1 scans; a 80/100 windows; 4.0 windows/s, 5 s left");
  });

  it("is printed below the lines of the scans, with their warnings", () => {
    const written: string[] = [];
    const stream = {
      isTTY: false,
      write: (text: string) => written.push(text),
    } as unknown as NodeJS.WriteStream;
    const print = cohortPrinter(stream, () => 0);
    print({ type: "cohort", rows: 2, kind: "folder", done: 0, failed: 0, toDo: 2 });
    print(windows("a", 10, 10));
    print({ ...done("a"), warnings: ["the scan is unlike the images of the model"] });
    print({ type: "slide", id: "b", state: "failed", code: "missing", reason: "it is not there", left: 0 });
    expect(written.join("")).toBe(
      "2 scans found in the folder, in the order of their paths: 0 done, 0 failed, 2 to do\n" +
        "0/2 scans; a 10/10 windows\n" +
        "a: 10 windows in 1.0 s (1 to do)\n  warning: the scan is unlike the images of the model\n" +
        "b: missing: it is not there (0 to do)\n",
    );
  });
});

describe("results of a cohort", () => {
  it("are linked under the names of their scans; other links are removed, other files stay", () => {
    const placeOf = (job: string) => join(directory, "jobs", job);
    for (const job of ["j1", "j2"]) {
      mkdirSync(placeOf(job), { recursive: true });
      writeFileSync(join(placeOf(job), "run.json"), job);
    }
    const row = (id: string, job: string | undefined, status = "done") =>
      ({ row: { id, source: id, values: [] }, status, job }) as never;
    linkScans(directory, [row("slide 1.svs", "j1"), row("b", "j2"), row("c", undefined, "failed")], placeOf);
    expect(readdirSync(join(directory, "scans")).sort()).toEqual(["b", "slide 1.svs"]);
    expect(readFileSync(join(directory, "scans", "slide 1.svs", "run.json"), "utf8")).toBe("j1");
    mkdirSync(join(directory, "scans", "mine"));
    linkScans(directory, [row("b", "j1")], placeOf);
    expect(readFileSync(join(directory, "scans", "b", "run.json"), "utf8")).toBe("j1");
    expect(existsSync(join(directory, "scans", "slide 1.svs"))).toBe(false);
    expect(lstatSync(join(directory, "scans", "mine")).isDirectory()).toBe(true);
    expect(existsSync(join(placeOf("j2"), "run.json"))).toBe(true);
  });
});
