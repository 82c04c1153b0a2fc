/** The stack in a process of its own, to be killed: `run-stack.ts <state> <model> <jobs bundle> <segment bundle> <port>`. */
import { startStack } from "../../src/cli/local-stack.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS } from "./service.ts";

const [state, model, jobs, segment, port] = process.argv.slice(2) as [string, string, string, string, string];
const stack = await startStack({
  state,
  host: "127.0.0.1",
  port: Number(port),
  model,
  bundles: { jobs, segment, remove: async () => {} },
  jobs: JOBS_BINDINGS,
  segment: SEGMENT_BINDINGS,
});
console.log(`up at ${stack.url.origin}`);
