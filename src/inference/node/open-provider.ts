import type { ModelPackage } from "../../model-package/load-package.ts";
import { InferenceError } from "../errors.ts";
import { checkGoldenTile } from "../golden-tile.ts";
import type { Segmenter } from "../segmenter.ts";
import { findMissingCudaLibraries } from "./cuda-libraries.ts";
import { DeviceSegmenter } from "./device-segmenter.ts";
import { openWasm } from "./open-wasm.ts";
import { OrtNodeSegmenter } from "./ort-node.ts";
import type { ProviderName } from "./ort-node-worker.ts";

export type { ProviderName } from "./ort-node-worker.ts";

/** Execution providers of this machine, the fastest first. "wasm" needs no onnxruntime-node. */
export const PROVIDERS = ["cuda", "webgpu", "cpu", "wasm"] as const satisfies readonly (
  | ProviderName
  | "wasm"
)[];

function isProvider(name: string): name is (typeof PROVIDERS)[number] {
  return PROVIDERS.some((provider) => provider === name);
}

export interface ProviderOptions {
  /** Threads, for cpu; default all cores. */
  threads?: number;
  /** Number of the GPU, for cuda; default the first. */
  deviceId?: number;
  /**
   * Compute in float16 with the companion of the package (`loadPackage` with `half`). "auto": if there is one and it passes
   * the golden tile; "on": or fail; "off". Default "auto". Never on the CPU.
   */
  half?: "auto" | "on" | "off";
  /** Let the CPU run operators without a kernel of the device; by default such a model is an error. */
  allowCpuOperators?: boolean;
  signal?: AbortSignal;
}

/**
 * Opens a model on exactly the named provider, which `info.runtime` states. On a device, the golden tile is verified.
 * @throws {InferenceError} if the provider is missing, finds no device, or would leave operators to the CPU
 */
export async function openProvider(
  name: string,
  model: ModelPackage,
  options: ProviderOptions = {},
): Promise<Segmenter> {
  const { threads, deviceId, half = "auto", allowCpuOperators, signal } = options;
  if (!isProvider(name)) {
    throw new InferenceError(`there is no provider "${name}"; choose of ${PROVIDERS.join(", ")}`);
  }
  if (deviceId !== undefined && name !== "cuda") {
    throw new InferenceError(`${name} takes no device number; leave it out, or choose cuda`);
  }
  if (name === "cpu") {
    if (half === "on") throw new InferenceError("the CPU does not compute in float16; choose webgpu or cuda");
    return OrtNodeSegmenter.create(model, { threads });
  }
  if (name === "wasm") {
    if (half === "on") throw new InferenceError("wasm does not compute in float16; choose webgpu or cuda");
    return openWasm(model, { threads });
  }
  const open = async (useHalf: boolean) => {
    let segmenter: DeviceSegmenter;
    try {
      segmenter = await DeviceSegmenter.create(model, {
        provider: name,
        deviceId,
        half: useHalf,
        allowCpuOperators,
      });
    } catch (cause) {
      throw explained(name, model, cause);
    }
    try {
      await checkGoldenTile(segmenter, model, { precision: "u8", signal });
    } catch (cause) {
      await segmenter.close();
      throw cause;
    }
    return segmenter;
  };
  if (half === "on") return open(true);
  if (half === "auto" && model.half) {
    try {
      return await open(true);
    } catch (error) {
      // The device has no float16 or is too inaccurate with it. Any other error occurs with float32 as well.
      if (!(error instanceof InferenceError)) throw error;
    }
  }
  return open(false);
}

/** Turns a message of the runtime into one that says what to do. */
function explained(name: ProviderName, model: ModelPackage, cause: unknown): unknown {
  if (!(cause instanceof InferenceError)) return cause;
  const { message, outOfMemory } = cause;
  const because = (sentence: string) => new InferenceError(sentence, { cause, outOfMemory });
  if (
    /Failed to load (shared )?library|not (available|supported) in this build|no such provider/i.test(message)
  ) {
    return because(
      name === "cuda"
        ? findMissingCudaLibraries()
        : `${name} is not in this build of onnxruntime-node; choose another provider`,
    );
  }
  if (/WebGPU adapter|No supported adapters/i.test(message)) {
    return because(
      "WebGPU finds no GPU: install the GPU's Vulkan driver and libvulkan1, and allow this process to use it, or choose another provider",
    );
  }
  if (/requires f16/.test(message)) {
    return because("the device does not compute in float16; leave half precision off");
  }
  if (/CUDA driver version is insufficient/i.test(message)) {
    return because(
      "the NVIDIA driver is too old for the CUDA that onnxruntime was built for: install a newer one (nvidia-smi shows the CUDA version that it supports), or choose another provider",
    );
  }
  if (/no CUDA-capable device|cudaErrorNoDevice|invalid device ordinal/i.test(message)) {
    return because("CUDA finds no such GPU: check with nvidia-smi, or choose another provider");
  }
  const [, failure] = /(CUDA failure \d+: [^;]*\S)\s*;/.exec(message) ?? [];
  if (failure) {
    return because(`${failure}: check with nvidia-smi, or choose another provider`);
  }
  if (/assigned to the default CPU EP/.test(message)) {
    return because(
      `${name} has no kernels for some operators of ${model.manifest.name} ${model.variantName}, and the CPU would run them; choose another variant, or allow CPU operators`,
    );
  }
  return because(`model ${model.manifest.name} does not load on ${name}: ${message}`);
}
