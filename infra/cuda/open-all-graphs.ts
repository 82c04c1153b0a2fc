import { rejects } from "node:assert/strict";
import { toNetwork } from "../../src/inference/graph/check-network.ts";
import { fusePrePostForGpu } from "../../src/inference/graph/fuse-pre-post.ts";
import { InferenceThread } from "../../src/inference/node/inference-thread.ts";
import { loadModel } from "../../src/local/resolve-model.ts";

/** Opens every graph that the bundled models have for devices, with CUDA as the only provider. */
const thread = await InferenceThread.start();
for (const name of ["nuclei", "hippocampus"]) {
  const model = await loadModel(name, { variant: "int4", half: true });
  const network = toNetwork(model);
  let opened = 0;
  for (const { bytes } of [model.files[0]!, model.half!]) {
    for (const pixels of ["uint8", "uint16", "float32"] as const) {
      for (const pixelChannels of new Set([network.channels, 1])) {
        for (const result of ["u8", "f32"] as const) {
          await thread.closeSession(await open(bytes, { ...network, pixels, pixelChannels, result }));
          opened++;
        }
      }
    }
  }
  console.log(`${name} int4 and its companion: CUDA runs every operator of ${opened} graphs`);

  // CUDA has no kernel for 8-bit products. Their failure proves that the check can fail.
  const edge = await loadModel(name, { variant: "int4-edge" });
  const options = {
    ...toNetwork(edge),
    pixels: "uint8",
    pixelChannels: network.channels,
    result: "u8",
  } as const;
  await rejects(open(edge.files[0]!.bytes, options), /assigned to the default CPU EP/);
}
await thread.close();

function open(bytes: Uint8Array, options: Parameters<typeof fusePrePostForGpu>[1]): Promise<number> {
  const graph = fusePrePostForGpu(bytes, options);
  return thread.open({
    graph: graph.bytes,
    inputs: [graph.pixels, graph.scaling],
    outputs: [graph.result, graph.faults],
    provider: "cuda",
  });
}
