/** The edge function, which holds one model. Bindings: src/edge/segment/wrangler.toml in the repository. */
declare const worker: {
  fetch(request: Request, env: unknown, context: unknown): Response | Promise<Response>;
  queue(batch: unknown, env: unknown): Promise<void>;
};
export default worker;
