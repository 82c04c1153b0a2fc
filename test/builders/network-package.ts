import type { ModelPackage } from "../../src/model-package/load-package.ts";
import { manifestSchema } from "../../src/model-package/manifest.ts";
import type { Activation } from "../../src/tiling/pixels/activation.ts";
import { type Network, onnxNetwork } from "./onnx-network.ts";

/** A package in memory around a generated network; its golden tile is empty. */
export function networkPackage(network: Network, activation: Activation): ModelPackage {
  const { window, channels, scores } = network;
  const classes = activation === "sigmoid" ? scores + 1 : scores;
  const bytes = onnxNetwork(network) as Uint8Array<ArrayBuffer>;
  const byteLength = bytes.length;
  const golden = {
    input: { path: "i", shape: [1, ...window, channels], dtype: "uint8", low: 0, high: 255 },
    output: { path: "o", shape: [1, classes, ...window], dtype: "uint8" },
    tolerance: { maxAbs: 0.01, meanAbs: 0.01 },
  };
  const manifest = manifestSchema.parse({
    formatVersion: 1,
    name: "made",
    version: "1.0.0",
    license: "Apache-2.0",
    classes: Array.from({ length: Math.max(2, classes) }, (_, k) => ({ name: `c${k}`, color: "#00c000" })),
    input: {
      axes: window.length === 2 ? "yx" : "zyx",
      ...(window.length === 3 && { orientation: "stored" }),
      channels,
      dtype: "float32",
      spacing: { y: 1, x: 1, unit: "millimeter" },
      normalization: { kind: "range", low: 0, high: 255 },
    },
    window: { size: window },
    output: { activation },
    defaultVariant: "fp32",
    variants: {
      fp32: {
        files: [{ path: "made.onnx", byteLength, sha256: "0".repeat(64) }],
        input: "pixels",
        output: "logits",
      },
    },
    golden,
  });
  return {
    manifest,
    variantName: "fp32",
    variant: manifest.variants.fp32!,
    files: [{ path: "made.onnx", bytes }],
    golden: { spec: manifest.golden!, input: new Uint8Array(0), output: new Uint8Array(0) },
    hash: "0".repeat(64),
  };
}
