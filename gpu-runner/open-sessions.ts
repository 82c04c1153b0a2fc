import { availableParallelism } from "node:os";
import { InferenceError } from "../src/inference/errors.ts";
import { checkGoldenTile } from "../src/inference/golden-tile.ts";
import { type openProvider, PROVIDERS } from "../src/inference/node/open-provider.ts";
import type { Segmenter } from "../src/inference/segmenter.ts";
import type { ModelPackage } from "../src/model-package/load-package.ts";
import type { RunnerOptions } from "./settings.ts";

export interface OpenSessions {
  provider: string;
  sessions: Segmenter[];
  /** Largest deviation of any session from the golden tile, in probability. */
  golden: { maxAbs: number; meanAbs: number };
}

/**
 * Opens the sessions on the first provider that runs the model and reproduces its golden tile in every session.
 * @param onSkipped called for each provider that fails, with the reason
 * @throws {InferenceError} if no allowed provider succeeds
 */
export async function openSessions(
  model: ModelPackage,
  options: Pick<RunnerOptions, "providers" | "allowFallback" | "allowCpuOperators" | "devices" | "sessions">,
  open: typeof openProvider,
  onSkipped: (provider: string, error: InferenceError) => void,
): Promise<OpenSessions> {
  const asked = [...new Set(options.providers)];
  const others = options.allowFallback ? PROVIDERS.filter((name) => !asked.includes(name)) : [];
  const reasons: string[] = [];
  for (const provider of [...asked, ...others]) {
    try {
      return await openAll(provider, model, options, open);
    } catch (error) {
      if (!(error instanceof InferenceError)) throw error;
      onSkipped(provider, error);
      reasons.push(`${provider}: ${error.message}`);
    }
  }
  const hint = options.allowFallback ? "" : "; choose another --execution-provider, or add --allow-fallback";
  throw new InferenceError(
    `${model.manifest.name} does not run on this machine (${reasons.join("; ")})${hint}`,
  );
}

async function openAll(
  provider: string,
  model: ModelPackage,
  { devices, sessions, allowCpuOperators }: Pick<RunnerOptions, "devices" | "sessions" | "allowCpuOperators">,
  open: typeof openProvider,
): Promise<OpenSessions> {
  const count = sessions ?? defaultSessions(provider, devices);
  const opened: Segmenter[] = [];
  const golden = { maxAbs: 0, meanAbs: 0 };
  try {
    for (let i = 0; i < count; i++) {
      const where =
        provider === "cpu"
          ? { threads: 1 }
          : provider === "wasm"
            ? {}
            : { deviceId: devices?.[i % devices.length], allowCpuOperators };
      const session = await open(provider, model, where);
      opened.push(session);
      if (!session.info.runtime.split(" ").includes(provider)) {
        throw new InferenceError(`the session uses ${session.info.runtime} instead of ${provider}`);
      }
      const { maxAbs, meanAbs } = await checkGoldenTile(
        session,
        model,
        // On devices, u8 has its own graph and is what most requests use.
        isGpu(provider) ? { precision: "u8" } : {},
      );
      golden.maxAbs = Math.max(golden.maxAbs, maxAbs);
      golden.meanAbs = Math.max(golden.meanAbs, meanAbs);
    }
  } catch (error) {
    // Errors of closing must not hide the first one.
    await Promise.allSettled(opened.map((session) => session.close()));
    throw error;
  }
  return { provider, sessions: opened, golden };
}

/** One for each core or GPU; WebAssembly has one thread. */
function defaultSessions(provider: string, devices: readonly number[] | undefined): number {
  if (provider === "cpu") return availableParallelism();
  return isGpu(provider) ? (devices?.length ?? 1) : 1;
}

function isGpu(provider: string): boolean {
  return provider !== "cpu" && provider !== "wasm";
}
