import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const PAGES = ["README.md", "CONTRIBUTING.md", "bench/README.md", "model/README.md", "model/STUDY.md"].concat(
  globSync("docs/**/*.md", { cwd: ROOT, exclude: (name) => name.startsWith("docs/site") }),
  ["examples/README.md", "SECURITY.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", ".changeset/README.md"],
);
/** Links to other files and headings: `[text](path#anchor)`; addresses with a scheme are not looked at. */
const parseLinks = (text: string) =>
  [...text.matchAll(/\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)/g)].map(([, path, anchor]) => ({ path, anchor }));

/** The anchors that GitHub gives the headings of a page. */
function headingAnchors(text: string): string[] {
  return [...text.replaceAll(/^```.*?^```$/gms, "").matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

describe("the documents", () => {
  it.each(PAGES)("%s links only to files and headings that exist", (page) => {
    const text = readFileSync(join(ROOT, page), "utf8");
    for (const { path, anchor } of parseLinks(text)) {
      const target = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path!);
      expect(existsSync(target), path).toBe(true);
      if (anchor) expect(headingAnchors(readFileSync(target, "utf8")), `${path}#${anchor}`).toContain(anchor);
    }
  });

  it.each(PAGES)("%s names only source files that exist", (page) => {
    const text = readFileSync(join(ROOT, page), "utf8");
    const sources =
      /(?<![\w/.:-])(?:(?:src|test|gpu-runner)\/[\w./-]*\w|(?:bench|infra|demo|model)\/[\w./-]+\.(?:ts|py|sh|yaml))/g;
    for (const [path] of text.matchAll(sources)) expect(existsSync(join(ROOT, path)), path).toBe(true);
  });

  it("are linked from the README, each page", () => {
    const linked = ["README.md", "docs/decisions/README.md"].flatMap((page) =>
      parseLinks(readFileSync(join(ROOT, page), "utf8")).map(({ path }) => join(dirname(page), path!)),
    );
    for (const page of PAGES.filter((name) => name.startsWith("docs/"))) expect(linked).toContain(page);
  });
});
