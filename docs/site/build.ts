import { execFileSync } from "node:child_process";
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/**
 * Builds the site: every page of the documentation, and the reference of the API from the sources. `npm run docs` installs
 * its tools first; they are a project of their own, because typedoc needs an older TypeScript. VitePress fails on a link
 * that leads nowhere. The result is in docs/site/dist.
 */
const SITE = import.meta.dirname;
const ROOT = resolve(SITE, "../..");
const PAGES = join(SITE, "pages");

/** Pages keep their places, so that their links hold; the README is the first. */
const SOURCES = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "SECURITY.md",
  "CODE_OF_CONDUCT.md",
  "bench/README.md",
  "examples/README.md",
  "model/README.md",
  "model/STUDY.md",
  ...globSync("docs/**/*.md", { cwd: ROOT, exclude: (name) => name.startsWith("docs/site") }),
];

const pathOf = (page: string) => page.replace(/README\.md$/, "index.md");

rmSync(PAGES, { recursive: true, force: true });
for (const page of SOURCES) {
  const target = join(PAGES, pathOf(page));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, adaptLinks(page, readFileSync(join(ROOT, page), "utf8")));
}

/** Links to pages stay, pictures are copied, and links to other files of the repository become their text. */
function adaptLinks(page: string, text: string): string {
  return text.replace(
    /(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]*)(#[^)\s]*)?\)/g,
    (link, picture, label, path, anchor = "") => {
      const target = relative(ROOT, resolve(ROOT, dirname(page), path));
      if (picture) {
        mkdirSync(dirname(join(PAGES, target)), { recursive: true });
        cpSync(join(ROOT, target), join(PAGES, target));
        return link;
      }
      return SOURCES.includes(target) ? `[${label}](${pathOf(path)}${anchor})` : label;
    },
  );
}

const bin = (name: string) => join(SITE, "node_modules/.bin", name);
execFileSync(bin("typedoc"), ["--options", join(SITE, "typedoc.json")], { cwd: ROOT, stdio: "inherit" });
execFileSync(bin("vitepress"), ["build", SITE], { cwd: SITE, stdio: "inherit" });
if (!existsSync(join(SITE, "dist/docs/api.html")) || !existsSync(join(SITE, "dist/reference/index.html")))
  throw new Error("the site lacks its pages");
console.log(
  `built ${globSync("**/*.html", { cwd: join(SITE, "dist") }).length} pages: docs/site/dist/index.html`,
);
