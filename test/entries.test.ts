import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = new URL("..", import.meta.url).pathname;
const { exports: subpaths } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const built = existsSync(join(ROOT, "dist/src/index.js"));

/** Declared names of an entry with the file that each is from, as its source lists them. */
function listExports(entry: string): { name: string; from: string; imported: string }[] {
  const text = readFileSync(entry, "utf8");
  const found = [];
  for (const [, names, from] of text.matchAll(/export (?:type )?\{([^}]*)\} from "([^"]+)";/g)) {
    for (const one of names!
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean)) {
      const [imported, name = imported] = one.replace(/^type /, "").split(/\s+as\s+/);
      found.push({ name: name!, from: resolve(dirname(entry), from!), imported: imported! });
    }
  }
  for (const [, from] of text.matchAll(/export \* from "([^"]+)";/g)) {
    const file = resolve(dirname(entry), from!);
    const exported = readFileSync(file, "utf8").matchAll(
      /^export (?:async )?(?:abstract )?(?:function\*?|class|interface|type|const) (\w+)/gm,
    );
    for (const [, name] of exported) found.push({ name: name!, from: file, imported: name! });
  }
  return found;
}

/** The declaration of a name in a declaration file, without comments. */
function declarationOf(name: string, file: string): string {
  const path = file.replace(`${ROOT}src`, `${ROOT}dist/src`).replace(/\.ts$/, ".d.ts");
  const text = readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const parts = text.split(/^(?=export |declare |import )/m);
  const pattern = new RegExp(
    `^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) ${name}\\b`,
  );
  const own = parts.filter((part) => pattern.test(part)).map((part) => part.replace(/\n\s*\n/g, "\n").trim());
  expect(own, `${name} in ${path}`).not.toEqual([]);
  return own.join("\n");
}

/** The source of each entry of package.json that is compiled here; the Workers are bundles with declarations of their own. */
const ENTRIES = Object.entries(subpaths as Record<string, unknown>).flatMap(([subpath, target]) => {
  const conditions = target as Record<string, string | { default: string }>;
  const files = [conditions.default, (conditions.browser as { default: string } | undefined)?.default];
  return files.flatMap((file) =>
    typeof file === "string" && file.startsWith("./dist/src/")
      ? [{ subpath: file.includes("entries/web") ? `${subpath} (web)` : subpath, file }]
      : [],
  );
});

describe("the entries of the package", () => {
  it("are files of the sources, and every source of an entry is one", () => {
    expect(ENTRIES.map(({ subpath }) => subpath)).toEqual([
      ".",
      ". (web)",
      "./tiling",
      "./readers",
      "./inference/node",
      "./inference/wasm",
      "./inference/remote",
      "./pipeline",
      "./client",
    ]);
    const named = new Set(ENTRIES.map(({ file }) => file.split("/").at(-1)!.replace(".js", ".ts")));
    for (const name of readdirSync(join(ROOT, "src/entries"))) expect(named).toContain(name);
  });

  it.each(ENTRIES)("$subpath exports these names, and no other", async ({ subpath, file }) => {
    const source = join(ROOT, file.replace("./dist/", "").replace(/\.js$/, ".ts"));
    const listed = listExports(source);
    const values = Object.keys(await import(source)).toSorted();
    expect(new Set(listed.map(({ name }) => name)).size).toBe(listed.length);
    expect(values.filter((name) => !listed.some((one) => one.name === name))).toEqual([]);
    const types = listed.map(({ name }) => name).filter((name) => !values.includes(name));
    expect({ values, types: types.toSorted() }).toMatchSnapshot(subpath);
  });

  /** A change of a type is a change of the package: it shows here, and belongs in the changelog. */
  it.skipIf(!built).each(ENTRIES)(
    "$subpath has these types (npm run build writes them)",
    async ({ subpath, file }) => {
      const source = join(ROOT, file.replace("./dist/", "").replace(/\.js$/, ".ts"));
      const listed = listExports(source).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const text = listed.map(({ imported, from }) => declarationOf(imported, from)).join("\n");
      const name = subpath.replace(/[^a-z]+/g, "-").replace(/^-|-$/g, "") || "node";
      await expect(`${text}\n`).toMatchFileSnapshot(`./__snapshots__/types/${name}.txt`);
    },
  );
});
