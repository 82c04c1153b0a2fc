/** The edge function on onnxruntime-web, for networks that the engine cannot run. Bindings: as those of `segment`. */
declare const worker: {
  fetch(request: Request, env: unknown, context: unknown): Response | Promise<Response>;
  queue(batch: unknown, env: unknown): Promise<void>;
};
export default worker;
