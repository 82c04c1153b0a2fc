/** The stack in its own process, to be killed; options come as JSON, see `KillableStack`. */
import { startStack } from "../../src/cli/stack/local-stack.ts";
import { JOBS_BINDINGS, SEGMENT_BINDINGS } from "./service.ts";

const { jobs, segment, bindings, ...options } = JSON.parse(process.argv[2]!);
const stack = await startStack({
  host: "127.0.0.1",
  ...options,
  bundles: { jobs, segment, remove: async () => {} },
  jobs: { ...JOBS_BINDINGS, ...bindings },
  segment: { ...SEGMENT_BINDINGS, ...bindings },
});
console.log(`up at ${stack.url.origin}`);
