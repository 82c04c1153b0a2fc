import { isTilewrightError, loadModel, type ModelPackage, segment } from "tilewright";
import { type EngineSegmenter, openEngine } from "tilewright/inference/wasm";
import plain from "tilewright/kernels.wasm";
import relaxed from "tilewright/kernels-relaxed.wasm";

interface Env {
  /** Address of a model package, a folder with model.json. */
  MODEL: string;
}

/** The value, not a promise of it: Workers end a promise with the request that made it. */
let loaded: { model: ModelPackage; segmenter: EngineSegmenter } | undefined;

async function load(address: string) {
  const model = await loadModel(address, { variant: "int4-edge" });
  // A Worker cannot compile WebAssembly at run time, so the kernels come compiled. An isolate has 128 MB in total.
  const builds = [
    { module: relaxed, relaxed: true },
    { module: plain, relaxed: false },
  ];
  return { model, segmenter: await openEngine(model, { builds, maxBytes: 64 * 2 ** 20 }) };
}

/** PUT a TIFF or PNG with 0.25 µm per pixel; the answer lists its nuclei. */
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (request.method !== "PUT") return new Response("send a picture with PUT\n", { status: 405 });
    try {
      const source = new Uint8Array(await request.arrayBuffer());
      loaded ??= await load(env.MODEL);
      const { labels, objects, run } = await segment({ source, ...loaded, mpp: 0.25 });
      return Response.json({
        shape: labels.shape,
        windows: run.plan.windows,
        objects: objects.map(({ id, centroid, measurements }) => ({ id, centroid, area: measurements.area })),
      });
    } catch (error) {
      if (!isTilewrightError(error)) throw error;
      return Response.json({ error: error.message }, { status: 422 });
    }
  },
};
