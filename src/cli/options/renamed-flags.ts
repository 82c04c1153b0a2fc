/** A flag that has a new name. The old one works for one release, with a note. */
export interface RenamedFlag {
  /** First words of the command, for instance "cohort run". */
  command: string;
  before: string;
  now: string;
}

/** A subcommand that has a new name, likewise. */
export interface RenamedCommand {
  before: string;
  now: string;
}

const SERVICE_COMMANDS = [
  "upload",
  "cohort run",
  "jobs start",
  "jobs get",
  "jobs cancel",
  "jobs delete",
  "jobs download",
];
const PLANNING_COMMANDS = ["segment", "plan", "cohort run", "upload", "jobs start"];

/** Old names of release 0.1. Remove them with the next release. */
export const RENAMED_FLAGS: readonly RenamedFlag[] = [
  ...SERVICE_COMMANDS.map((command) => ({ command, before: "--to", now: "--server" })),
  ...["segment", "plan", "cohort run"].map((command) => ({
    command,
    before: "--concurrency",
    now: "--threads",
  })),
  { command: "upload", before: "--concurrency", now: "--parallel-uploads" },
  ...PLANNING_COMMANDS.flatMap((command) => [
    { command, before: "--blend", now: "--importance" },
    { command, before: "--policy", now: "--window-policy" },
  ]),
  ...["segment", "upload", "jobs start"].map((command) => ({
    command,
    before: "--seg-type",
    now: "--seg-encoding",
  })),
  { command: "cohort run", before: "--slides-at-once", now: "--parallel-slides" },
  { command: "cohort run", before: "--spend-limit", now: "--max-cost" },
  { command: "up", before: "--state", now: "--data-dir" },
  { command: "up", before: "--shards", now: "--worker" },
  { command: "runner", before: "--provider", now: "--execution-provider" },
  { command: "runner", before: "--drain-seconds", now: "--shutdown-timeout" },
  { command: "runner", before: "--batch-latency-ms", now: "--max-queue-delay-ms" },
];

export const RENAMED_COMMANDS: readonly RenamedCommand[] = [
  { before: "jobs show", now: "jobs get" },
  { before: "jobs remove", now: "jobs delete" },
];

/**
 * Replaces old names of flags and commands by the new ones.
 * @param words what the user typed after `tilewright`
 * @param note called once for each old name
 */
export function translateRenamed(words: readonly string[], note: (sentence: string) => void): string[] {
  const translated = [...words];
  const tell = (before: string, now: string) =>
    note(`${before} is now ${now}; the old name goes with the next release`);
  const renamed = RENAMED_COMMANDS.find(({ before }) => before === words.slice(0, 2).join(" "));
  if (renamed) {
    translated.splice(0, 2, ...renamed.now.split(" "));
    tell(renamed.before, renamed.now);
  }
  const flags = RENAMED_FLAGS.filter(
    ({ command }) => translated.slice(0, command.split(" ").length).join(" ") === command,
  );
  const noted = new Set<string>();
  for (const [i, word] of translated.entries()) {
    // Only arguments follow.
    if (word === "--") break;
    const [name, ...value] = word.split("=");
    const flag = flags.find(({ before }) => before === name);
    if (!flag) continue;
    translated[i] = [flag.now, ...value].join("=");
    if (!noted.has(flag.before)) tell(flag.before, flag.now);
    noted.add(flag.before);
  }
  return translated;
}
