import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const PLACES = ["src", "gpu-runner", "web/src"];

/** The floor of each folder: a file may import from its own folder and from lower floors. */
const FLOOR: Record<string, number> = {
  tiling: 0,
  // Ports and plain descriptions of images.
  image: 1,
  storage: 2,
  codecs: 3,
  readers: 4,
  "model-package": 4,
  writers: 5,
  inference: 5,
  orchestrator: 6,
  contracts: 7,
  service: 8,
  // Segmenting in any runtime; what needs Node is added by `local`.
  portable: 8,
  // One machine: the public API, the service's client, cohorts.
  local: 9,
  client: 10,
  exit: 11,
  cohort: 12,
  "index.ts": 13,
  // The subpaths of the package.
  entries: 13,
  // Programs.
  cli: 13,
  edge: 13,
  "gpu-runner": 13,
  web: 13,
};

const PROGRAMS = new Set(["cli", "edge", "gpu-runner", "web"]);
/** Folders of the command line: the Workers and the runner use none of them. */
const COMMAND_LINE = new Set(["local", "client", "exit", "cohort"]);

/** The one door from one program to another: the command that starts the runner, when it is asked to. */
const STARTS = new Set([
  "cli/commands/runner.ts gpu-runner/start.ts",
  "cli/commands/runner.ts gpu-runner/settings.ts",
  "cli/main.ts gpu-runner/settings.ts",
]);

/** Below the orchestrator: all of it that it may import. Ports, schemas, errors and concurrency, and no adapter. */
const PORTS = new Set([
  "storage/object-store.ts",
  "storage/errors.ts",
  "storage/digest.ts",
  "storage/concurrency.ts",
  "inference/errors.ts",
  "inference/segmenter.ts",
  "inference/intensity-normalization.ts",
  "model-package/manifest.ts",
  "model-package/load-package.ts",
]);
const isPort = (name: string) => PORTS.has(name) || name.startsWith("image/");

function* files(directory: string): Generator<string> {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else if (/\.tsx?$/.test(path) && !path.endsWith(".test.ts")) yield path;
  }
}

function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((m) => m[1]!);
}

/** From below `src`, or from the top where a program has a folder of its own. */
const nameOf = (path: string) => relative(ROOT, path).replace(/^src\//, "");

const all = PLACES.flatMap((place) => [...files(join(ROOT, place))]).map((path) => {
  const name = nameOf(path);
  return { name, folder: name.split("/")[0]!, path, imports: imports(path) };
});

/** Rules of imports: each tells what is wrong with one import of a file, or nothing. */
type Rule = (file: (typeof all)[number], target: string, name: string | undefined) => string | undefined;

/** Every import that breaks a rule, as "file: what is wrong". A file of a package by its path lies on no floor. */
function violations(files: typeof all, rule: Rule): string[] {
  return files.flatMap((file) =>
    file.imports.flatMap((target) => {
      const isOurs = target.startsWith(".") && !target.includes("/node_modules/");
      const wrong = rule(file, target, isOurs ? nameOf(resolve(dirname(file.path), target)) : undefined);
      return wrong === undefined ? [] : [`${file.name}: ${wrong}`];
    }),
  );
}

/** Each way from a node back to itself that a depth-first search meets, as "a → b → a". */
function cycles(edges: readonly (readonly [string, string])[]): string[] {
  const targets = new Map<string, Set<string>>();
  for (const [from, to] of edges) targets.set(from, (targets.get(from) ?? new Set()).add(to));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) return void found.push([...path.slice(path.indexOf(name)), name].join(" → "));
    if (done.has(name)) return;
    for (const target of targets.get(name) ?? []) visit(target, [...path, name]);
    done.add(name);
  };
  for (const name of targets.keys()) visit(name, []);
  return found;
}

describe("floors", () => {
  it("are those of the folders, and every file is looked at", () => {
    expect(new Set(all.map((f) => f.folder))).toEqual(new Set(Object.keys(FLOOR)));
    expect(all.length).toBeGreaterThan(400);
    expect(all.flatMap((f) => f.imports).length).toBeGreaterThan(1500);
  });

  it("imports point downwards only", () => {
    const wrong = violations(all, ({ path, folder }, _, name) => {
      const other = name?.split("/")[0];
      if (name === undefined || other === undefined || other === folder) return undefined;
      if (FLOOR[other] === undefined) return `${name} lies on no floor`;
      if (FLOOR[other] > FLOOR[folder]!) return `${folder} may not import ${name}`;
      // What several programs need lies below them.
      const programs = PROGRAMS.has(folder) && PROGRAMS.has(other) && !STARTS.has(`${nameOf(path)} ${name}`);
      // The client of the service runs in browsers.
      const isWebClient = folder === "web" && other === "client";
      const commandLine = !isWebClient && folder !== "cli" && PROGRAMS.has(folder) && COMMAND_LINE.has(other);
      return programs || commandLine ? `${folder} may not import ${name}` : undefined;
    });
    expect(wrong).toEqual([]);
  });

  it("the orchestrator sees ports, never adapters, and runs in Workers too", () => {
    const files = all.filter((f) => f.folder === "orchestrator");
    const wrong = violations(files, (_, target, name) => {
      if (/^node:|^onnxruntime/.test(target)) return `${target} is not in Workers`;
      if (name === undefined) return undefined;
      const folder = name.split("/")[0]!;
      return !["orchestrator", "tiling"].includes(folder) && !isPort(name) ? `${name} is no port` : undefined;
    });
    expect(wrong).toEqual([]);
  });

  it("only Workers need what only Workers have", () => {
    const files = all.filter((f) => f.folder !== "edge");
    expect(violations(files, (_, target) => (/^cloudflare:/.test(target) ? target : undefined))).toEqual([]);
  });

  it("only services serve HTTP", () => {
    const files = all.filter((f) => !["service", "edge", "gpu-runner"].includes(f.folder));
    expect(violations(files, (_, target) => (/^hono\b|^@hono\//.test(target) ? target : undefined))).toEqual(
      [],
    );
  });

  /** Every file, and every file of ours that it imports. */
  const edges = () => {
    const names = new Set(all.map((f) => f.name));
    return all.flatMap((f) =>
      f.imports
        .filter((target) => target.startsWith("."))
        .map((target) => nameOf(resolve(dirname(f.path), target)))
        .filter((target) => names.has(target))
        .map((target) => [f.name, target] as const),
    );
  };

  it("no file imports itself by way of others, types included", () => {
    expect(cycles(edges())).toEqual([]);
  });

  it("no folder imports itself by way of others, types included", () => {
    const folders = edges().map(([from, to]) => [dirname(from), dirname(to)] as const);
    expect(new Set(folders.flat()).size).toBeGreaterThan(40);
    expect(cycles(folders.filter(([from, to]) => from !== to))).toEqual([]);
  });

  it("every exported name has one definition", () => {
    const places = new Map<string, Set<string>>();
    for (const { name, path } of all) {
      const text = readFileSync(path, "utf8");
      const exported = text.matchAll(/^export (?:async )?(?:function\*?|class|interface|type|const) (\w+)/gm);
      // Overloads of a function are one definition.
      for (const [, word] of exported) places.set(word!, (places.get(word!) ?? new Set()).add(name));
    }
    expect(places.size).toBeGreaterThan(1000);
    expect([...places].filter(([, files]) => files.size > 1)).toEqual([]);
  });

  it("no file has more than 400 lines", () => {
    const long = all.filter(({ path }) => readFileSync(path, "utf8").split("\n").length > 401);
    expect(long.map(({ name }) => name)).toEqual([]);
  });

  it("commands that need no server load none: the runner is imported when it is started", () => {
    const text = readFileSync(join(ROOT, "src/cli/commands/runner.ts"), "utf8");
    const statics = [...text.matchAll(/^import (type )?[^;]*"(?:\.\.\/)+gpu-runner\/[^"]+";/gm)];
    expect(statics.filter((m) => !m[1]).map((m) => m[0])).toEqual([]);
  });

  /** Every file that some files import, by way of others too: none may need Node. */
  function reachWithoutNode(roots: readonly string[]): Set<string> {
    const byName = new Map(all.map((f) => [f.name, f]));
    const reached = new Set<string>();
    const visit = (name: string, from: string) => {
      if (reached.has(name)) return;
      reached.add(name);
      const file = byName.get(name);
      expect(file, `${from} imports ${name}`).toBeDefined();
      for (const target of file!.imports) {
        expect(target, name).not.toMatch(/^node:|^onnxruntime-node/);
        const isSource = target.startsWith(".") && !/\/node_modules\/|\.(css|wasm)$/.test(target);
        if (isSource) visit(nameOf(resolve(dirname(file!.path), target)), name);
      }
    };
    for (const root of roots) visit(root, "the test");
    return reached;
  }

  it("what the Workers reach runs without Node", () => {
    const reached = reachWithoutNode(all.filter((x) => x.folder === "edge").map((f) => f.name));
    // Proof that the walk leaves the folder.
    expect(reached).toContain("inference/wasm/ort-web.ts");
  });

  it.each(["web", "readers", "pipeline", "client", "inference-wasm"])(
    "what the entry %s reaches runs without Node",
    (entry) => {
      expect(reachWithoutNode([`entries/${entry}.ts`]).size).toBeGreaterThan(8);
    },
  );

  it("what the web app reaches runs without Node", () => {
    const reached = reachWithoutNode(all.filter((x) => x.folder === "web").map((f) => f.name));
    expect(reached).toContain("readers/open-image.ts");
  });

  it("what runs in any runtime reaches nothing of Node", () => {
    const roots = all.filter((x) => x.folder === "portable").map((f) => f.name);
    expect(reachWithoutNode(roots)).toContain("readers/open-image.ts");
  });

  it("tiling is pure: it imports nothing but itself", () => {
    const files = all.filter((f) => f.folder === "tiling");
    expect(
      violations(files, (_, target, name) => (name?.startsWith("tiling/") ? undefined : target)),
    ).toEqual([]);
  });
});
