import type { ServiceInfo } from "../../inference/remote/service-info.ts";
import { describeModel } from "../../service/describe-model.ts";
import type { LoadedModel } from "./model-host.ts";
import type { Settings } from "./settings.ts";
import { probeSharedMemory } from "./shared-memory.ts";

/** `GET /v1/info`: the description that all services give, and whether the isolate allows the memory that the runtime needs. */
export interface Info extends Partial<Omit<ServiceInfo, "runtime">> {
  runtime: Partial<ServiceInfo["runtime"]> & {
    heapCapBytes?: number;
    heapBytes?: number;
    /** Why it is not allowed. */
    sharedMemory: { allowed: boolean; reason?: string };
  };
}

/** Without a model: only whether shared memory is allowed. */
export function describeRuntime(settings?: Settings, heapBytes?: number, model?: LoadedModel): Info {
  const probe = probeSharedMemory();
  const sharedMemory = probe === true ? { allowed: true } : { allowed: false, reason: probe };
  if (!settings || !model) return { runtime: { sharedMemory } };
  const { segmenter } = model;
  return {
    ...describeModel(model, segmenter.info),
    limits: { maxWindows: settings.maxWindows, maxBodyBytes: settings.maxBodyBytes },
    runtime: { name: segmenter.info.runtime, heapCapBytes: settings.heapCapBytes, heapBytes, sharedMemory },
  };
}
