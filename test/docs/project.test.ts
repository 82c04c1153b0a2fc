import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { VERSION } from "../../src/orchestrator/version.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const manifest = JSON.parse(read("package.json"));

describe("the version", () => {
  it("is the same in the package, the code, the citation and the changelog", () => {
    expect(VERSION).toBe(manifest.version);
    expect(parse(read("CITATION.cff")).version).toBe(manifest.version);
    expect(/^## (\S+)/m.exec(read("CHANGELOG.md"))![1]).toBe(manifest.version);
  });

  it("of Node is one that the package allows, and the one that its own tools run on", () => {
    const [least] = manifest.engines.node.match(/\d+/);
    expect(Number(read(".nvmrc"))).toBeGreaterThanOrEqual(Number(least));
    expect(manifest.devDependencies.node.split(".")[0]).toBe(read(".nvmrc").trim());
    expect(read("src/cli/tilewright.cts")).toContain(
      `[${manifest.engines.node.replace(">=", "").replace(".", ", ")}]`,
    );
  });

  it("of an optional peer is the one that is tested, and the one that the sentences name", () => {
    const { miniflare, "onnxruntime-node": native } = manifest.peerDependencies;
    for (const name of Object.keys(manifest.peerDependencies)) {
      expect(manifest.peerDependenciesMeta[name]).toEqual({ optional: true });
      expect(manifest.devDependencies[name]).toBe(manifest.peerDependencies[name]);
    }
    expect(read("src/cli/commands/up.ts")).toContain(`"${miniflare}"`);
    expect(read("src/inference/node/native-runtime.ts")).toContain(`"${native}"`);
    expect(manifest.dependencies["onnxruntime-web"]).toBe(native);
  });
});

describe("licences", () => {
  it("of the code and of each model are in the package's metadata and beside the files", () => {
    expect(manifest.license).toBe("Apache-2.0");
    const models = readdirSync(join(ROOT, "models"));
    expect(Object.keys(manifest.modelLicenses).toSorted()).toEqual(models.toSorted());
    for (const model of models) {
      expect(JSON.parse(read(`models/${model}/model.json`)).license).toBe(manifest.modelLicenses[model]);
      expect(existsSync(join(ROOT, "models", model, "LICENSE")), model).toBe(true);
    }
  });
});

describe("the README", () => {
  const text = read("README.md");

  it("has at most 150 lines, in this order", () => {
    expect(text.split("\n").length).toBeLessThanOrEqual(151);
    expect([...text.matchAll(/^## (.*)$/gm)].map(([, title]) => title)).toEqual([
      "Status and limits",
      "Install",
      "Quick start",
      "Which command",
      "From code",
      "Formats",
      "Models",
      "Performance",
      "Beside other tools",
      "Documentation",
      "Licence",
    ]);
  });

  it("begins with a picture, and says that it is for research only", () => {
    expect(text.indexOf("![")).toBeLessThan(text.indexOf("## "));
    expect(text).toContain("**Research use only. Tilewright is not a medical device.**");
  });
});

describe("the workflows", () => {
  it("run stages of .ci/run, all but the demo, which needs nothing of its own", () => {
    const { jobs } = parse(read(".github/workflows/ci.yml"));
    const stages = /^STAGES=\((.*)\)$/m.exec(read(".ci/run"))![1]!.split(" ");
    expect(jobs.stage.strategy.matrix.stage).toEqual(stages.filter((stage) => stage !== "demo"));
    for (const stage of stages) expect(read(".ci/run")).toMatch(new RegExp(`^${stage}\\(\\) \\{`, "m"));
  });
});
