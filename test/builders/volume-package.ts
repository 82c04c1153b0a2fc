import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { product } from "../../src/tiling/grid/raster.ts";
import { onnxNetwork } from "./onnx-network.ts";

/** Scores of class k for an intensity x in 0 to 1: one peak after the other. */
const SLOPES = [0, 10, 24, 42, 64];
const OFFSETS = [0, -2, -7, -17, -33];

/** The class of the largest score. */
export function volumeLabel(x: number): number {
  const scores = SLOPES.map((slope, k) => slope * x + OFFSETS[k]!);
  return scores.indexOf(Math.max(...scores));
}

/** Writes a package of a network over volumes without a receptive field, with five classes. @returns its directory */
export function writeVolumePackage(
  directory: string,
  options: {
    window?: readonly number[];
    spacing?: { z: number; y: number; x: number };
    low?: number;
    high?: number;
    /** Default "stored". */
    orientation?: string;
    manifest?: Record<string, unknown>;
  } = {},
): string {
  const { window = [32, 32, 32], spacing = { z: 1, y: 1, x: 1 }, low = 0, high = 255 } = options;
  const classes = SLOPES.length;
  const onnx = onnxNetwork({ window, channels: 1, scores: classes, weights: SLOPES, biases: OFFSETS });
  const size = product(window);
  const input = Uint8Array.from({ length: size }, (_, i) => i % 256);
  const output = new Uint8Array(size * classes);
  for (let i = 0; i < size; i++) {
    const exp = SLOPES.map((slope, k) => Math.exp((slope * (i % 256)) / 255 + OFFSETS[k]!));
    const sum = exp.reduce((a, b) => a + b);
    for (let k = 0; k < classes; k++) output[k * size + i] = Math.round((255 * exp[k]!) / sum);
  }
  mkdirSync(join(directory, "golden"), { recursive: true });
  writeFileSync(join(directory, "volume.onnx"), onnx);
  writeFileSync(join(directory, "golden", "input.bin"), input);
  writeFileSync(join(directory, "golden", "output.bin"), output);
  const sha256 = createHash("sha256").update(onnx).digest("hex");
  const manifest = {
    formatVersion: 1,
    name: "volume",
    version: "1.0.0",
    license: "Apache-2.0",
    classes: ["background", "a", "b", "c", "d"].map((name, k) => ({ name, color: `#0000${k}0` })),
    input: {
      axes: "zyx",
      orientation: options.orientation ?? "stored",
      channels: 1,
      dtype: "float32",
      spacing: { ...spacing, unit: "millimeter" },
      spacingTolerance: 0.1,
      normalization: { kind: "range", low, high, clip: [0, 1] },
    },
    window: { size: window, overlapRatio: 0.25, importance: "gaussian", policy: "monai" },
    output: { activation: "softmax" },
    defaultVariant: "fp32",
    variants: {
      fp32: {
        files: [{ path: "volume.onnx", byteLength: onnx.length, sha256 }],
        input: "pixels",
        output: "logits",
      },
    },
    golden: {
      input: { path: "golden/input.bin", shape: [1, ...window, 1], dtype: "uint8", low: 0, high: 255 },
      output: { path: "golden/output.bin", shape: [1, classes, ...window], dtype: "uint8" },
      tolerance: { maxAbs: 0.01, meanAbs: 0.005 },
    },
    ...options.manifest,
  };
  writeFileSync(join(directory, "model.json"), JSON.stringify(manifest, null, 2));
  return directory;
}
