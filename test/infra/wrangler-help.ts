import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "../..");

/** The content of `wrangler <command> --help`. */
export interface Help {
  command: string[];
  /** Number of positional arguments. */
  positionals: { least: number; most: number };
  /** Flags by all their spellings. */
  flags: Map<string, { takesValue: boolean; isList: boolean; choices?: string[] }>;
  /** Required flags: the spellings of each. */
  required: string[][];
}

/**
 * The help of the command at the start of `words`; more words may follow.
 * @returns undefined where the installed wrangler has no such command
 */
export async function wranglerHelp(words: readonly string[]): Promise<Help | undefined> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(ROOT, "node_modules/wrangler/bin/wrangler.js"), ...words, "--help"],
    {
      cwd: ROOT,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", NO_COLOR: "1" },
    },
  );
  // For an unknown command wrangler prints the help of its group, or of all commands.
  if (/^COMMANDS$/m.test(stdout)) return undefined;
  const usage = /^wrangler ([a-z0-9 -]+?)((?: [<[][^\]>]+[>\]])*)$/m.exec(stdout);
  if (!usage) return undefined;
  const command = usage[1]!.split(" ");
  if (command.some((word, i) => words[i] !== word)) return undefined;
  const all = usage[2]!.match(/[<[]/g) ?? [];
  const help: Help = {
    command,
    positionals: { least: all.filter((bracket) => bracket === "<").length, most: all.length },
    flags: new Map(),
    required: [],
  };
  for (const line of stdout.split("\n")) {
    const [, written, about] = /^ +((?:-\w, +|--[\w-]+(?:, )?)+) {2,}(.*)$/.exec(line) ?? [];
    if (!written || about === undefined) continue;
    const names = written.split(",").map((name) => name.trim());
    const type = /\[(string|number|array|boolean)\]/.exec(about)?.[1];
    const choices = /\[choices: ([^\]]+)\]/.exec(about)?.[1];
    const flag = {
      takesValue: type !== "boolean",
      isList: type === "array",
      choices: choices?.split(", ").map((choice) => JSON.parse(choice) as string),
    };
    for (const name of names) help.flags.set(name, flag);
    if (about.includes("[required]")) help.required.push(names);
  }
  return help;
}

/** Why wrangler would reject these arguments; undefined where it accepts them. */
export function refusal(help: Help, args: readonly string[]): string | undefined {
  const { least, most } = help.positionals;
  let positionals = 0;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-")) {
      positionals++;
      continue;
    }
    const flag = help.flags.get(arg);
    if (!flag) return `there is no flag ${arg}`;
    if (!flag.takesValue) continue;
    const value = args[++i];
    if (value === undefined || value.startsWith("-")) return `${arg} lacks its value`;
    if (flag.choices && !flag.choices.includes(value)) return `${arg} may not be ${value}`;
    if (flag.isList && args[i + 1] !== undefined && !args[i + 1]!.startsWith("-")) {
      return `${arg} would take ${args[i + 1]} too`;
    }
  }
  if (positionals < least || positionals > most) return `${positionals} arguments, not ${least} to ${most}`;
  const missing = help.required.find((names) => !names.some((name) => args.includes(name)));
  return missing && `${missing[0]} is missing`;
}
