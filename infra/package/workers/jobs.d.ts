/** The job service. Bindings: wrangler.toml in the repository. */
declare const worker: {
  fetch(request: Request, env: unknown, context: unknown): Response | Promise<Response>;
  queue(batch: unknown, env: unknown): Promise<void>;
};
export default worker;

/** Durable Objects and the Workflow, to be exported again by the Worker that is deployed. */
export declare class CohortLedger {
  constructor(state: unknown, env: unknown);
}
export declare class JobLedger {
  constructor(state: unknown, env: unknown);
}
export declare class JobWorkflow {
  constructor(state: unknown, env: unknown);
}
export declare class Pulse {
  constructor(state: unknown, env: unknown);
}
export declare class SeenMessages {
  constructor(state: unknown, env: unknown);
}
export declare class UploadLedger {
  constructor(state: unknown, env: unknown);
}
