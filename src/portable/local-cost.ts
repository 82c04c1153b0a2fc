import type { RunManifest } from "../orchestrator/manifest/run-manifest.ts";
import { USD_PER_CORE_HOUR } from "../orchestrator/prices.ts";
import type { BackendReport } from "../orchestrator/scheduler/backend.ts";

/** Cost of this machine's time. Edge functions and runners are billed to their owners. */
export function estimateLocalCost(
  seconds: number,
  backends: readonly BackendReport[],
): RunManifest["estimatedCost"] {
  const remote = backends.filter((backend) => backend.bytesSent !== undefined);
  const local = backends.filter((backend) => backend.bytesSent === undefined);
  // Cutting and merging take one core even if the model runs elsewhere.
  const cores = Math.max(1, ...local.map((backend) => backend.threads));
  const without = remote.length === 0 ? "" : `; without ${remote.map((backend) => backend.name).join(", ")}`;
  return {
    currency: "USD",
    amount: (seconds / 3600) * cores * USD_PER_CORE_HOUR,
    basis: `${cores} cores at ${USD_PER_CORE_HOUR} USD an hour${without}`,
  };
}
