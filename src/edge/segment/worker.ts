import { createWorker } from "./create-worker.ts";
import { openOnEngine } from "./open-engine.ts";

/** The edge function on Tilewright's engine, for the bundled models and networks like them: docs/format.md. */
export default createWorker(openOnEngine);
