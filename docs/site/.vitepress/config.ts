import { defineConfig } from "vitepress";

const GUIDES = [
  ["Start", ["index", "docs/cli", "docs/web", "docs/viewers", "docs/cohorts", "docs/guarantees"]],
  ["From code", ["docs/api", "reference/index", "examples/index"]],
  [
    "Formats and models",
    ["docs/formats", "docs/format", "docs/models", "docs/models/nuclei", "docs/results"],
  ],
  ["Running services", ["docs/runner", "docs/deploy", "docs/scale"]],
  [
    "Behind it",
    ["docs/architecture", "docs/decisions/index", "docs/benchmarks", "docs/glossary", "docs/hand-written"],
  ],
  ["Taking part", ["CONTRIBUTING", "CHANGELOG", "SECURITY"]],
] as const;

/** "docs/hand-written" → "Hand written". */
function title(page: string): string {
  const name = page
    .replace(/\/index$/, "")
    .split("/")
    .at(-1)!
    .toLowerCase()
    .replaceAll("-", " ");
  if (name === "index") return "Tilewright";
  return ["api", "cli"].includes(name) ? name.toUpperCase() : name[0]!.toUpperCase() + name.slice(1);
}

export default defineConfig({
  title: "Tilewright",
  description: "Segment whole-slide images and volumes with overlapping windows",
  srcDir: "pages",
  outDir: "dist",
  // Pages name types such as Raster<Uint8Array> in their text.
  markdown: { html: false },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    sidebar: GUIDES.map(([text, pages]) => ({
      text,
      items: pages.map((page) => ({ text: title(page), link: `/${page.replace(/(^|\/)index$/, "$1")}` })),
    })),
    footer: { message: "Research use only. Not a medical device. Apache-2.0." },
  },
});
