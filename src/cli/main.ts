#!/usr/bin/env -S MALLOC_MMAP_THRESHOLD_=1048576 node --max-semi-space-size=8
import { toExitStatus } from "../exit/exit-status.ts";
import { translateRenamed } from "./options/renamed-flags.ts";
import { buildProgram } from "./program.ts";

const controller = new AbortController();
let resumeHint = "continue later with --resume";
// A second Ctrl-C finds no listener, and the system ends the process: process.exit() would abort in a thread that is in
// the middle of an inference.
process.once("SIGINT", () => {
  process.stderr.write(`\nstopping; ${resumeHint} (Ctrl-C again ends at once)\n`);
  controller.abort(new DOMException("stopped by the user", "AbortError"));
});
process.once("SIGTERM", () => {
  controller.abort(new DOMException("stopped by a signal", "AbortError"));
});

// Without a reader of stderr the work goes on. A closed stdout ends it, as everywhere.
process.stderr.on("error", () => undefined);
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") controller.abort(new DOMException("nobody reads the output", "AbortError"));
});

const program = buildProgram({
  signal: controller.signal,
  setResumeHint(hint) {
    resumeHint = hint;
  },
});
try {
  const note = (sentence: string) => void process.stderr.write(`note: ${sentence}\n`);
  await program.parseAsync(translateRenamed(process.argv.slice(2), note), { from: "user" });
} catch (error) {
  const { message, exitCode } = toExitStatus(error);
  process.stderr.write(`tilewright: ${message}\n`);
  if (process.env.TILEWRIGHT_DEBUG) console.error(error);
  process.exitCode = exitCode;
}
