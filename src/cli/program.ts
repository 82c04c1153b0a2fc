import { Command } from "commander";
import { EXIT } from "../exit/exit-status.ts";
import { VERSION } from "../orchestrator/version.ts";
import { addCohortCommands } from "./commands/cohort.ts";
import { addInspectCommand } from "./commands/inspect.ts";
import { addJobsCommands } from "./commands/jobs.ts";
import { addModelCommands } from "./commands/model.ts";
import { addPlanCommand } from "./commands/plan.ts";
import { addRunnerCommand } from "./commands/runner.ts";
import { addSegmentCommand } from "./commands/segment.ts";
import { addUpCommand } from "./commands/up.ts";
import { addUploadCommand } from "./commands/upload.ts";
import { addViewCommand } from "./commands/view.ts";
import type { CommandContext } from "./options/context.ts";

/** The command line: commands in the order in which `--help` lists them. */
export function buildProgram(context: CommandContext): Command {
  const program = new Command("tilewright")
    .description("Segment whole-slide images and volumes with overlapping windows.")
    .version(VERSION)
    // As all errors begin here.
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "tilewright: ")) })
    .showHelpAfterError("(tilewright --help lists commands and options)")
    .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage));
  addSegmentCommand(program, context);
  addInspectCommand(program, context);
  addPlanCommand(program, context);
  addCohortCommands(program, context);
  addViewCommand(program, context);
  addUploadCommand(program, context);
  addUpCommand(program, context);
  addRunnerCommand(program, context);
  addJobsCommands(program, context);
  addModelCommands(program, context);
  return program;
}
