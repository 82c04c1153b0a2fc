import { registerHooks } from "node:module";

/** The ledger and the Workflow of the job service as they are deployed, loaded outside of the platform. */
export async function loadWorkers() {
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      specifier === "cloudflare:workers"
        ? { url: new URL("cloudflare-workers.ts", import.meta.url).href, shortCircuit: true }
        : next(specifier, context),
  });
  try {
    const { JobLedger } = await import("../../src/edge/jobs/lifecycle/ledger.ts");
    const { JobWorkflow } = await import("../../src/edge/jobs/lifecycle/workflow.ts");
    return { JobLedger, JobWorkflow };
  } finally {
    hooks.deregister();
  }
}

export type LoadedWorkers = Awaited<ReturnType<typeof loadWorkers>>;
