import type { Command } from "commander";

/** What the process gives each command. */
export interface CommandContext {
  /** Aborts when the user or the system asks the process to stop. */
  signal: AbortSignal;
  /** Sets what Ctrl-C says about continuing later. */
  setResumeHint: (hint: string) => void;
}

/** Adds one command, or one group of commands, to the program. */
export type AddCommand = (program: Command, context: CommandContext) => void;
