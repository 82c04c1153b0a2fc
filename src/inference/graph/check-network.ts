import type { ModelPackage } from "../../model-package/load-package.ts";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { InferenceError } from "../errors.ts";
import { ELEMENT, readOnnx } from "./onnx-file.ts";

/** Oldest version of the standard operators that the added nodes use. */
export const OLDEST_OPSET = 13;

/** The properties of a network that nodes around it depend on. */
export interface Network {
  /** Names of the graph's input `[N, C, ...window]` and output `[N, K', ...window]`. */
  input: string;
  output: string;
  window: readonly number[];
  /** C of the network. */
  channels: number;
  /** K; with sigmoid one more than the network returns, for the background. */
  classes: number;
  activation: Activation;
}

export function toNetwork({ manifest, variant }: Pick<ModelPackage, "manifest" | "variant">): Network {
  return {
    input: variant.input,
    output: variant.output,
    window: manifest.window.size,
    channels: manifest.input.channels,
    classes: manifest.classes.length,
    activation: manifest.output.activation,
  };
}

/**
 * Checks that an ONNX file is the network that the package describes and that nodes can be added around it.
 * @throws {InferenceError}
 */
export function checkNetwork(
  model: Uint8Array,
  { input, output, window, channels, pixelChannels }: Network & { pixelChannels: number },
): void {
  if (pixelChannels !== channels && pixelChannels !== 1) {
    throw new InferenceError(`pixels have ${pixelChannels} channels, the model takes ${channels}`);
  }
  let file: ReturnType<typeof readOnnx>;
  try {
    file = readOnnx(model);
  } catch (cause) {
    throw new InferenceError(`${(cause as Error).message}; export the network again`, { cause });
  }
  if (file.opset < OLDEST_OPSET) {
    throw new InferenceError(
      `the network is of opset ${file.opset}; export it with ${OLDEST_OPSET} or newer to run it on a device`,
    );
  }
  if (file.inputs.length !== 1 || file.inputs[0]!.name !== input) {
    throw new InferenceError(
      `the graph has inputs ${file.inputs.map((i) => i.name).join(", ")}, model.json says ${input} alone`,
    );
  }
  const found = file.outputs.find((o) => o.name === output);
  if (!found) {
    throw new InferenceError(
      `the graph has outputs ${file.outputs.map((o) => o.name).join(", ")}, model.json says ${output}`,
    );
  }
  for (const { name, element } of [file.inputs[0]!, found]) {
    if (element !== ELEMENT.float) {
      throw new InferenceError(
        `${name} of the graph is not float32; export the network with float32 in and out`,
      );
    }
  }
  const shape = file.inputs[0]!.shape;
  const expected = [channels, ...window];
  if (
    shape &&
    (shape.length !== expected.length + 1 ||
      expected.some((n, i) => typeof shape[i + 1] === "number" && shape[i + 1] !== n))
  ) {
    throw new InferenceError(
      `the graph takes ${shape.slice(1).join("×")}, model.json says ${expected.join("×")}`,
    );
  }
}
