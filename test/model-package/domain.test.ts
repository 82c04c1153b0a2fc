import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type ModelDomain, manifestSchema } from "../../src/model-package/manifest.ts";

const models = fileURLToPath(new URL("../../models/", import.meta.url));
const nuclei = JSON.parse(readFileSync(`${models}nuclei/model.json`, "utf8"));

function made(): ModelDomain {
  const range = { min: 0.2, max: 0.5 };
  return {
    modality: "SM",
    bins: 4,
    kinds: [
      {
        name: "H&E",
        pictures: 3,
        luminance: { mean: [0.1, 0.2, 0.3, 0.4], reach: 0.1 },
        saturation: { mean: [1, 0, 0, 0], reach: 0.1 },
        colour: { mean: [0.2, -0.1, -0.1], reach: 0.1 },
        sharpness: { mean: -5, reach: 1 },
        spacing: { y: range, x: range },
        objectDiameter: { median: 7, p99: 14 },
      },
    ],
  };
}

function parse(domain: unknown) {
  return manifestSchema.safeParse({ ...nuclei, domain });
}

describe("the domain of a model package", () => {
  test("is optional, and kept as written", () => {
    expect(parse(undefined).success).toBe(true);
    expect(parse(made()).data?.domain).toEqual(made());
  });

  test.each<[string, (kind: ModelDomain["kinds"][number]) => object]>([
    ["a histogram of another length", (k) => ({ luminance: { ...k.luminance, mean: [0.5, 0.5] } })],
    ["a share above 1", (k) => ({ luminance: { ...k.luminance, mean: [1.5, 0, 0, 0] } })],
    ["a reach of 0", (k) => ({ sharpness: { ...k.sharpness, reach: 0 } })],
    ["four channels", (k) => ({ colour: { ...k.colour, mean: [0, 0, 0, 0] } })],
    ["a spacing that runs backwards", (k) => ({ spacing: { ...k.spacing, y: { min: 2, max: 1 } } })],
    ["no pictures", () => ({ pictures: 0 })],
  ])("rejects %s in a kind", (_, change) => {
    const domain = made();
    expect(parse({ ...domain, kinds: domain.kinds.map((k) => ({ ...k, ...change(k) })) }).success).toBe(
      false,
    );
  });

  test.each([
    ["no kind", { kinds: [] }],
    ["thousands of bins", { bins: 4096 }],
    ["a modality in prose", { modality: "light microscopy" }],
  ])("rejects %s", (_, change) => {
    expect(parse({ ...made(), ...change }).success).toBe(false);
  });

  test("of the bundled packages is valid, its histograms sum to 1", () => {
    for (const name of readdirSync(models)) {
      const { domain } = manifestSchema.parse(
        JSON.parse(readFileSync(`${models}${name}/model.json`, "utf8")),
      );
      for (const kind of domain?.kinds ?? []) {
        for (const { mean } of [kind.luminance, ...(kind.saturation ? [kind.saturation] : [])]) {
          expect(mean.reduce((a, b) => a + b)).toBeCloseTo(1, 3);
        }
      }
    }
    expect(nuclei.domain.kinds.map((k: { name: string }) => k.name)).toContain("fluorescence");
  });
});
