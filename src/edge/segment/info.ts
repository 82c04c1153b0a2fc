import type { ServiceInfo } from "../../inference/remote/service-info.ts";
import { describeModel } from "../../service/describe-model.ts";
import type { LoadedModel } from "./model-host.ts";
import type { Settings } from "./settings.ts";
import { probeSharedMemory } from "./shared-memory.ts";

/** `GET /v1/info`: what every service tells, and of the isolate whether it allows the memory that the runtime asks for. */
export interface Info extends Partial<Omit<ServiceInfo, "runtime">> {
  runtime: Partial<ServiceInfo["runtime"]> & {
    heapCapBytes?: number;
    heapBytes?: number;
    /** If it is not allowed, why. */
    sharedMemory: { allowed: boolean; reason?: string };
  };
}

/** Without a model only what the isolate allows is told. */
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
