import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { product } from "../../src/tiling/grid/raster.ts";
import { onnxNetwork } from "./onnx-network.ts";

/** Score of a position without a gradient. */
const FLAT = 0.15;
const GAIN = 8;

/**
 * A package whose network finds the direction in which intensities grow: to larger x, y or z, or to smaller ones. So
 * its result depends on the volume's orientation, like that of networks trained on patients. For volumes, or slice by
 * slice with one neighbour on each side.
 */
export function writeDirectionPackage(
  directory: string,
  { kind, orientation }: { kind: "volume" | "slices"; orientation: string },
): string {
  const isVolume = kind === "volume";
  const window = isVolume ? [12, 14, 16] : [14, 16];
  const channels = isVolume ? 1 : 3;
  // 3×3×3, or 3 channels of 3×3: the same positions.
  const taps = 27;
  const weights = [new Array<number>(taps).fill(0)];
  // Neighbours along x, y and z in the order z, y, x.
  for (const step of [1, 3, 9]) {
    for (const sign of [1, -1]) {
      const score = new Array<number>(taps).fill(0);
      score[13 + step] = sign * GAIN;
      score[13 - step] = -sign * GAIN;
      weights.push(score);
    }
  }
  const scores = weights.length;
  const biases = [FLAT * GAIN, 0, 0, 0, 0, 0, 0];
  const onnx = onnxNetwork({ window, channels, scores, kernel: 3, weights: weights.flat(), biases });
  const size = product(window);
  const input = Uint8Array.from({ length: size * channels }, (_, i) => (i * 37) % 256);
  const output = goldenOutput(input, isVolume ? window : [3, ...window], weights, biases, isVolume);
  mkdirSync(join(directory, "golden"), { recursive: true });
  writeFileSync(join(directory, "direction.onnx"), onnx);
  writeFileSync(join(directory, "golden", "input.bin"), input);
  writeFileSync(join(directory, "golden", "output.bin"), output);
  const names = ["flat", "right", "left", "front", "back", "up", "down"];
  const manifest = {
    formatVersion: 1,
    name: "direction",
    version: "1.0.0",
    license: "Apache-2.0",
    classes: names.map((name, k) => ({ name, color: `#0000${k}0` })),
    input: {
      axes: isVolume ? "zyx" : "yx",
      channels,
      orientation,
      dtype: "float32",
      ...(!isVolume && { slices: { axis: "z", context: 1 } }),
      spacing: { ...(isVolume && { z: 1 }), y: 1, x: 1, unit: "millimeter" },
      spacingTolerance: 0.1,
      maxMagnification: 4,
      normalization: { kind: "percentile", low: 1, high: 99, scope: "image", clip: [0, 1] },
    },
    window: { size: window, overlapRatio: 0.25, importance: "gaussian", policy: "monai" },
    output: { activation: "softmax" },
    defaultVariant: "fp32",
    variants: {
      fp32: {
        files: [
          {
            path: "direction.onnx",
            byteLength: onnx.length,
            sha256: createHash("sha256").update(onnx).digest("hex"),
          },
        ],
        input: "pixels",
        output: "logits",
      },
    },
    golden: {
      input: { path: "golden/input.bin", shape: [1, ...window, channels], dtype: "uint8", low: 0, high: 255 },
      output: { path: "golden/output.bin", shape: [1, scores, ...window], dtype: "uint8" },
      tolerance: { maxAbs: 0.01, meanAbs: 0.005 },
    },
  };
  writeFileSync(join(directory, "model.json"), JSON.stringify(manifest, null, 2));
  return directory;
}

/** The convolution as plain loops. @param shape of the input: z, y, x, or channels, y, x */
function goldenOutput(
  input: Uint8Array,
  shape: readonly number[],
  weights: readonly (readonly number[])[],
  biases: readonly number[],
  isVolume: boolean,
): Uint8Array {
  const [depth, height, width] = shape as [number, number, number];
  const at = (z: number, y: number, x: number) => {
    if (y < 0 || x < 0 || y >= height || x >= width || z < 0 || z >= depth) return 0;
    // Channels come last.
    return input[isVolume ? (z * height + y) * width + x : (y * width + x) * depth + z]! / 255;
  };
  const slices = isVolume ? depth : 1;
  const out = new Uint8Array(weights.length * slices * height * width);
  for (let z = 0; z < slices; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const exp = weights.map((score, k) => {
          let sum = biases[k]!;
          for (let tap = 0; tap < 27; tap++) {
            const dz = Math.floor(tap / 9) - (isVolume ? 1 : 0);
            sum += score[tap]! * at(z + dz, y + (Math.floor(tap / 3) % 3) - 1, x + (tap % 3) - 1);
          }
          return Math.exp(sum);
        });
        const sum = exp.reduce((a, b) => a + b);
        exp.forEach((e, k) => {
          out[((k * slices + z) * height + y) * width + x] = Math.round((255 * e) / sum);
        });
      }
    }
  }
  return out;
}
