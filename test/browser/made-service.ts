import { join } from "node:path";
import { type Bundles, bundleWorkers, type Stack, startStack } from "../../src/cli/stack/local-stack.ts";
import { findWebAssets, openWebAssets } from "../../src/cli/view/web-assets.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS } from "../stack/service.ts";

/** The real service with its pages in workerd, and a network whose labels follow from each pixel alone. */
export class MadeService {
  readonly #bundles: Bundles;
  readonly #stack: Stack;

  private constructor(bundles: Bundles, stack: Stack) {
    this.#bundles = bundles;
    this.#stack = stack;
  }

  /** @param directory for the state and the model. @param jobs settings of the job service beside the usual ones */
  static async start(directory: string, jobs: Record<string, string> = {}): Promise<MadeService> {
    const pages = await openWebAssets(findWebAssets());
    const bundles = await bundleWorkers();
    const stack = await startStack({
      state: join(directory, "state"),
      host: "127.0.0.1",
      port: 0,
      model: writePointwisePackage(join(directory, "pointwise")),
      bundles,
      pages: { has: pages.has, handle: (request, response) => void pages.handle(request, response) },
      jobs: { ...JOBS_BINDINGS, ...jobs },
      segment: SEGMENT_BINDINGS,
    });
    return new MadeService(bundles, stack);
  }

  get url(): URL {
    return this.#stack.url;
  }

  async stop(): Promise<void> {
    await this.#stack.stop();
    await this.#bundles.remove();
  }
}
