import { globSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const ROOT = new URL("../../", import.meta.url).pathname;

it("docs/hand-written.md lists exactly the files that say why they are written by hand", () => {
  const page = readFileSync(`${ROOT}docs/hand-written.md`, "utf8");
  const listed = [...page.matchAll(/^\| `(\S+)` \|/gm)].map(([, file]) => file!);
  const files = globSync("{src,gpu-runner}/**/*.ts", { cwd: ROOT });
  const stating = files.filter((file) => /written by hand/i.test(readFileSync(`${ROOT}${file}`, "utf8")));
  expect(listed.length).toBeGreaterThan(30);
  expect(listed.toSorted()).toEqual(stating.toSorted());
});
