import { existsSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

/** Modules that a file imports when it is loaded: neither types nor `import()`. */
function* loadedBy(file: string): Generator<string> {
  for (const [, names, target] of readFileSync(file, "utf8").matchAll(
    /^(?:import|export)\s+(?!type\s)([^;"]*?)\s*(?:from\s+)?"([^"]+)";/gm,
  )) {
    const listed = /^\{(.*)\}$/s.exec(names!)?.[1]?.split(",");
    const isOnlyTypes = listed?.every((name) => name.trim() === "" || name.trim().startsWith("type "));
    if (!isOnlyTypes) yield target!;
  }
}

/** Everything that the first script of the page loads, and the first file that asks for it. */
function firstScript(): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (file: string) => {
    for (const target of loadedBy(file)) {
      const path = target.startsWith(".") ? resolve(dirname(file), target) : target;
      const name = target.startsWith(".") ? relative(ROOT, path) : target;
      if (found.has(name)) continue;
      found.set(name, relative(ROOT, file));
      if (existsSync(path) && /\.tsx?$/.test(path)) visit(path);
    }
  };
  visit(resolve(ROOT, "web/src/main.tsx"));
  return found;
}

it("loads no schemas, planner, readers, codecs or engine before the page is shown", () => {
  const found = firstScript();
  expect([...found.keys()]).toContain("web/src/viewer/viewer-page.tsx");
  expect(found.size).toBeGreaterThan(50);
  const heavy = [...found].filter(
    ([name]) =>
      /^(zod|onnxruntime-web|@niivue\/)/.test(name) ||
      /^src\/(orchestrator|contracts|portable|readers|codecs|inference|writers)\//.test(name),
  );
  expect(heavy).toEqual([]);
});
