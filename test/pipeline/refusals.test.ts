import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "fast-png";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { writeMadeSlide } from "../builders/slide.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
let directory: string;
let slide: string;
let model: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-refusals-"));
  slide = writeMadeSlide(join(directory, "slide.tiff"), { width: 200, height: 150 }).path;
  model = writePointwisePackage(join(directory, "pointwise"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function tilewright(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    timeout: 300_000,
  });
  return { status, stdout, stderr };
}

let runs = 0;
function refused(args: string[], exitCode: number, message: RegExp) {
  const out = join(directory, `out-${runs++}`);
  const { status, stderr } = tilewright("segment", ...args, "--out", out);
  const sentences = stderr.split("\n").filter((line) => line.startsWith("tilewright: "));
  expect(sentences, stderr).toHaveLength(1);
  expect(sentences[0]).toMatch(message);
  expect(status, stderr).toBe(exitCode);
  // Nothing under a final name.
  if (existsSync(out)) expect(readdirSync(out).filter((n) => n !== ".tilewright")).toEqual([]);
}

describe("the command line rejects with one sentence and an exit code", () => {
  it("an image without a pixel size, naming the flag", () => {
    const png = join(directory, "plain.png");
    writeFileSync(png, encode({ width: 100, height: 100, data: new Uint8Array(100 * 100 * 3), channels: 3 }));
    refused([png, "--model", model], 2, /does not state its pixel size: give it with --mpp/);
  });

  it("a far too coarse pixel size in every command, unless --max-magnification allows it", () => {
    const coarse = ["--mpp", "2.3", "--model", model];
    const sentence =
      /pixels of 2.3 µm \(level 0\) would be magnified 4.6 times for model pointwise, which was made for 0.5 µm/;
    const before = runs;
    refused([slide, ...coarse], 2, sentence);
    expect(existsSync(join(directory, `out-${before}`))).toBe(false);
    expect(tilewright("plan", slide, ...coarse)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(sentence),
    });
    const out = join(directory, "insisted");
    const insisting = [...coarse, "--max-magnification", "5", "--no-tissue-mask"];
    expect(tilewright("segment", slide, ...insisting, "--out", out)).toMatchObject({ status: 0 });
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8")).settings.maxMagnification).toBe(5);
    expect(tilewright("plan", slide, ...insisting).stdout).toMatch(/magnified 4.6 times/);
    expect(tilewright("plan", slide, ...coarse, "--max-magnification", "0.5").stderr).toMatch(
      /it must be a number from 1/,
    );
  });

  it("an unknown backend, one without token and an unreachable one, without leaving a directory", () => {
    const before = runs;
    refused(
      [slide, "--model", model, "--backend", "gpu"],
      2,
      /no backend "gpu": choose of cpu, cuda, webgpu, wasm, edge:<url> or runner:<url>/,
    );
    const edge = ["--backend", "edge:http://127.0.0.1:9"];
    refused([slide, "--model", model, ...edge], 2, /set TILEWRIGHT_TOKEN/);
    process.env.TILEWRIGHT_TOKEN = "a-token-of-no-service";
    try {
      refused([slide, "--model", model, ...edge], 6, /cannot reach 127.0.0.1:9/);
    } finally {
      delete process.env.TILEWRIGHT_TOKEN;
    }
    for (let run = before; run < runs; run++) expect(existsSync(join(directory, `out-${run}`))).toBe(false);
  });

  it("what planning refuses, and leaves no directory behind", () => {
    const before = runs;
    refused([slide, "--model", model, "--level", "7"], 2, /level 7 does not exist/);
    for (let run = before; run < runs; run++) expect(existsSync(join(directory, `out-${run}`))).toBe(false);
  });

  it("a slice model for a 2-D image", () => {
    const slices = writePointwisePackage(join(directory, "slices"));
    const file = join(slices, "model.json");
    const manifest = JSON.parse(readFileSync(file, "utf8"));
    manifest.input.slices = { axis: "z", context: 1 };
    manifest.input.orientation = "RAS";
    writeFileSync(file, JSON.stringify(manifest));
    refused(
      [slide, "--model", slices],
      2,
      /model pointwise takes slices of a volume, the image is one plane/,
    );
  });

  it("a region outside the image, a level that is not there, a channel that is not there", () => {
    refused(
      [slide, "--model", model, "--roi", "150,0,100,100"],
      2,
      /reaches outside the image, which is 200×150/,
    );
    const regions: [string, object | undefined, RegExp][] = [
      [
        "far",
        {
          type: "Polygon",
          coordinates: [
            [
              [0, 0],
              [300, 0],
              [0, 100],
            ],
          ],
        },
        /polygons of the region reach outside the image, which is 200×150/,
      ],
      [
        "crossed",
        {
          type: "Polygon",
          coordinates: [
            [
              [0, 0],
              [100, 100],
              [100, 0],
              [0, 100],
            ],
          ],
        },
        /crossed\.geojson: polygon 1 crosses itself at 50, 50/,
      ],
      ["points", { type: "Point", coordinates: [1, 2] }, /points\.geojson holds no polygon/],
      ["absent", undefined, /absent\.geojson does not exist; check its path/],
    ];
    for (const [name, value, sentence] of regions) {
      const file = join(directory, `${name}.geojson`);
      if (value) writeFileSync(file, JSON.stringify(value));
      refused([slide, "--model", model, "--roi", file], 2, sentence);
    }
    refused(
      [slide, "--model", model, "--level", "7"],
      2,
      /level 7 does not exist: the image has levels 0 to 1/,
    );
    refused([slide, "--model", model, "--channels", "0,1,5"], 2, /channel 5 does not exist/);
    refused(
      [slide, "--model", model, "--outputs", "labels.png"],
      2,
      /no output "labels.png": choose of labels.ome.zarr/,
    );
  });

  it("a missing source, a directory, an empty file, text named .svs", () => {
    refused([join(directory, "absent.svs"), "--model", model], 3, /absent\.svs/);
    const empty = join(directory, "empty.svs");
    writeFileSync(empty, "");
    refused([empty, "--model", model], 3, /empty/);
    const text = join(directory, "text.svs");
    writeFileSync(text, "not an image at all, only some words".repeat(20));
    refused([text, "--model", model], 3, /text\.svs|not/);
    mkdirSync(join(directory, "folder"));
    refused([join(directory, "folder"), "--model", model], 3, /folder|directory/);
  });

  it("an unreachable host", () => {
    refused(["http://127.0.0.1:9/slide.svs", "--model", model], 3, /127\.0\.0\.1/);
  });

  it("a missing, damaged or wrong model", () => {
    refused([slide, "--model", "no-such-model"], 4, /there is no model no-such-model: bundled are/);
    const damaged = writePointwisePackage(join(directory, "damaged"));
    const onnx = readFileSync(join(damaged, "pointwise.onnx"));
    onnx[100]! ^= 1;
    writeFileSync(join(damaged, "pointwise.onnx"), onnx);
    refused([slide, "--model", damaged], 4, /hash of pointwise\.onnx is not the one/);
    const wrong = writePointwisePackage(join(directory, "wrong"));
    writeFileSync(join(wrong, "golden", "output.bin"), new Uint8Array(64 * 64 * 3).fill(128));
    refused([slide, "--model", wrong], 4, /computes model pointwise wrongly: golden tile off by/);
    const odd = writePointwisePackage(join(directory, "odd"), { manifest: { classes: "none" } });
    refused([slide, "--model", odd], 4, /model\.json is not valid/);
    const escaping = writePointwisePackage(join(directory, "escaping"));
    const text = readFileSync(join(escaping, "model.json"), "utf8").replace(
      "pointwise.onnx",
      "../pointwise/pointwise.onnx",
    );
    writeFileSync(join(escaping, "model.json"), text);
    refused([slide, "--model", escaping], 4, /plain relative path/);
  });

  it("an output path that is a file or not writable", () => {
    const file = join(directory, "a-file");
    writeFileSync(file, "x");
    const { status, stderr } = tilewright("segment", slide, "--model", model, "--out", file);
    expect(stderr).toMatch(/a-file is a file: --out must name a directory/);
    expect(status).toBe(5);
    const below = tilewright("segment", slide, "--model", model, "--out", join(file, "deeper"));
    expect(below.stderr).toMatch(/a part of the path is a file/);
    expect(below.status).toBe(5);
  });

  it("flags that are not numbers", () => {
    for (const [flag, value] of [
      ["--mpp", "-1"],
      ["--overlap", "1"],
      ["--roi", "1,2,3"],
      ["--level", "x"],
      ["--precision", "u4"],
    ]) {
      const { status, stderr } = tilewright(
        "segment",
        slide,
        "--out",
        join(directory, "never"),
        flag!,
        value!,
      );
      expect(stderr).toContain(flag);
      expect(status).toBe(2);
    }
    expect(existsSync(join(directory, "never"))).toBe(false);
  });
});

describe("the command line answers", () => {
  it("segment --json: events on stderr, the manifest on stdout", () => {
    const out = join(directory, "json");
    const { status, stdout, stderr } = tilewright(
      "segment",
      slide,
      "--model",
      model,
      "--out",
      out,
      "--json",
      "--no-tissue-mask",
    );
    expect(status).toBe(0);
    const events = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.at(-1)).toEqual({ type: "stage", stage: "done" });
    expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(join(out, "run.json"), "utf8")));
  });

  it("inspect, plan and model verify", () => {
    const inspected = JSON.parse(tilewright("inspect", slide, "--json").stdout);
    expect(inspected.levels).toHaveLength(2);
    expect(inspected.mpp[0]).toBeCloseTo(0.5, 3);
    const planned = JSON.parse(tilewright("plan", slide, "--model", model, "--json").stdout);
    expect(planned.windows).toBe(planned.windowsInGrid);
    expect(planned.seconds).toBeGreaterThan(0);
    expect(tilewright("plan", slide, "--model", model).stdout).toContain("windows");
    const verified = tilewright("model", "verify", model);
    expect(verified.stdout).toContain("pointwise 1.0.0 fp32: hashes right");
    expect(verified.status).toBe(0);
  });
});
