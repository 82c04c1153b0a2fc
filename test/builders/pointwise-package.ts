import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A real ONNX graph without a receptive field, so that a test knows every label beforehand. Made with onnx.helper:
 * m = mean of the 3 channels (conv 1×1), a = relu(m - 0.3), b = relu(m - 0.55), then a second conv 1×1 to
 * background 0.5, bright 40 b, rim 20 a - 60 b. Any window size.
 */
const ONNX =
  "CAg6mQIKGQoGcGl4ZWxzCgJ3MQoCYjESAWMiBENvbnYKDAoBYxIBciIEUmVsdQoZCgFyCgJ3MgoCYjISBmxvZ2l0cyIEQ29udhIJcG9pbnR3aXNl" +
  "KigIAggDCAEIARABQgJ3MUoYq6qqPquqqj6rqqo+q6qqPquqqj6rqqo+KhIIAhABQgJiMUoImpmZvs3MDL8qKAgDCAIIAQgBEAFCAncyShgAAAAA" +
  "AAAAAAAAAAAAACBCAACgQQAAcMIqFggDEAFCAmIySgwAAAA/AAAAAAAAAABaIwoGcGl4ZWxzEhkKFwgBEhMKAxIBTgoCCAMKAxIBSAoDEgFXYiMK" +
  "BmxvZ2l0cxIZChcIARITCgMSAU4KAggDCgMSAUgKAxIBV0IECgAQEQ==";

/** Scores of background, bright and rim for a mean intensity in [0, 1]. */
export function pointwiseLogits(mean: number): [number, number, number] {
  const a = Math.max(0, mean - 0.3);
  const b = Math.max(0, mean - 0.55);
  return [0.5, 40 * b, 20 * a - 60 * b];
}

/** The class a pixel of this mean intensity gets. */
export function pointwiseLabel(mean: number): number {
  const logits = pointwiseLogits(mean);
  return logits.indexOf(Math.max(...logits));
}

/** Writes the package and returns its directory. Pixels are scaled by the fixed range 0 to `high`. */
export function writePointwisePackage(
  directory: string,
  options: { window?: number; mpp?: number; high?: number; manifest?: Record<string, unknown> } = {},
): string {
  const { window = 64, mpp = 0.5, high = 255 } = options;
  const onnx = Buffer.from(ONNX, "base64");
  const size = window * window;
  const input = new Uint8Array(size * 3);
  for (let i = 0; i < size; i++) input.fill(i % 256, i * 3, i * 3 + 3);
  const output = new Uint8Array(size * 3);
  for (let i = 0; i < size; i++) {
    const exp = pointwiseLogits((i % 256) / 255).map(Math.exp);
    const sum = exp[0]! + exp[1]! + exp[2]!;
    for (let k = 0; k < 3; k++) output[k * size + i] = Math.round((255 * exp[k]!) / sum);
  }
  mkdirSync(join(directory, "golden"), { recursive: true });
  writeFileSync(join(directory, "pointwise.onnx"), onnx);
  writeFileSync(join(directory, "golden", "input.bin"), input);
  writeFileSync(join(directory, "golden", "output.bin"), output);
  const manifest = {
    formatVersion: 1,
    name: "pointwise",
    version: "1.0.0",
    license: "Apache-2.0",
    classes: [
      { name: "background", color: "#000000" },
      { name: "bright", color: "#00c000" },
      { name: "rim", color: "#c0c000" },
    ],
    input: {
      axes: "yx",
      channels: 3,
      dtype: "float32",
      spacing: { y: mpp, x: mpp, unit: "micrometer" },
      spacingTolerance: 0.1,
      normalization: { kind: "range", low: 0, high },
    },
    window: { size: [window, window], overlapRatio: 0.25, importance: "gaussian", policy: "monai" },
    output: { activation: "softmax" },
    objects: { interior: [1], boundary: [2], connectivity: 4, minArea: 4, className: "blob" },
    defaultVariant: "fp32",
    variants: {
      fp32: {
        files: [
          {
            path: "pointwise.onnx",
            byteLength: onnx.length,
            sha256: createHash("sha256").update(onnx).digest("hex"),
          },
        ],
        input: "pixels",
        output: "logits",
      },
    },
    golden: {
      input: { path: "golden/input.bin", shape: [1, window, window, 3], dtype: "uint8", low: 0, high: 255 },
      output: { path: "golden/output.bin", shape: [1, 3, window, window], dtype: "uint8" },
      tolerance: { maxAbs: 0.01, meanAbs: 0.005 },
    },
    ...options.manifest,
  };
  writeFileSync(join(directory, "model.json"), JSON.stringify(manifest, null, 2));
  return directory;
}
