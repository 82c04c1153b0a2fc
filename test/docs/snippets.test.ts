import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = new URL("../..", import.meta.url).pathname;
const built = existsSync(join(ROOT, "dist/src/index.js"));

/** The TypeScript blocks of a page, each with the heading that it stands under. */
function snippets(page: string): { title: string; code: string }[] {
  let heading = "";
  const found: { title: string; code: string }[] = [];
  for (const [, title, code] of readFileSync(join(ROOT, page), "utf8").matchAll(
    /^#+ (.*)$|^```ts\n([\s\S]*?)^```$/gm,
  )) {
    if (title !== undefined) heading = title;
    else found.push({ title: `${heading}, ${found.length + 1}`, code: code! });
  }
  return found;
}

const PAGES = ["docs/api.md", "README.md"];

let directory: string;
beforeAll(() => {
  // Inside of the package: there "tilewright" is the package itself, as its exports say.
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  directory = mkdtempSync(join(ROOT, "dist/snippets-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.skipIf(!built)("the code in the documentation (npm run build first)", () => {
  const all = PAGES.flatMap((page) => snippets(page).map((snippet) => ({ page, ...snippet })));

  it("is found", () => {
    expect(all.filter(({ page }) => page === "docs/api.md").length).toBeGreaterThanOrEqual(11);
    expect(all.some(({ page }) => page === "README.md")).toBe(true);
  });

  it.each(all)("runs: $page, $title", async ({ title, code }) => {
    const cwd = mkdtempSync(join(directory, "run-"));
    await run(cwd, join(ROOT, "infra/package/paint-slide.ts"), "slide.tiff");
    const file = join(cwd, "snippet.ts");
    writeFileSync(file, code);
    const { stdout, stderr } = await run(cwd, file);
    expect(stderr, title).toBe("");
    expect(stdout.trim(), title).not.toBe("");
  });
});

function run(cwd: string, ...args: string[]) {
  return promisify(execFile)(process.execPath, args, { cwd, encoding: "utf8" });
}
