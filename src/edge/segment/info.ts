import type { HostedModel } from "./model-host.ts";
import type { Settings } from "./settings.ts";
import { probeSharedMemory } from "./shared-memory.ts";

/** `GET /v1/info`. What a caller needs to know before it sends windows comes first, then what runs them. */
export interface Info {
  model?: { name: string; version: string; variant: string; hash: string };
  /** `[...window]` in samples, channels in and classes out. */
  window?: readonly number[];
  channels?: number;
  classes?: number;
  limits?: { maxWindows: number; maxBodyBytes: number };
  /** How far off the golden tile was here, in probability. */
  golden?: { maxAbs: number; meanAbs: number };
  runtime: {
    name?: string;
    heapCapBytes?: number;
    heapBytes?: number;
    /** Whether the isolate allows the shared memory that the runtime asks for; if not, why. */
    sharedMemory: { allowed: boolean; reason?: string };
  };
}

/** Without a model only what the isolate allows is told. */
export function describeRuntime(settings?: Settings, heapBytes?: number, model?: HostedModel): Info {
  const probe = probeSharedMemory();
  const sharedMemory = probe === true ? { allowed: true } : { allowed: false, reason: probe };
  if (!settings || !model) return { runtime: { sharedMemory } };
  const { manifest, hash, golden, segmenter } = model;
  const { variant, window, channels, classes, runtime } = segmenter.info;
  return {
    model: { name: manifest.name, version: manifest.version, variant, hash },
    window,
    channels,
    classes,
    limits: { maxWindows: settings.maxWindows, maxBodyBytes: settings.maxBodyBytes },
    golden,
    runtime: { name: runtime, heapCapBytes: settings.heapCapBytes, heapBytes, sharedMemory },
  };
}
