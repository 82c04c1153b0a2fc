import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { RENAMED_FLAGS } from "../../src/cli/options/renamed-flags.ts";
import { buildProgram } from "../../src/cli/program.ts";

const guide = readFileSync(join(import.meta.dirname, "../../docs/cli.md"), "utf8");
const [manual, renamed] = guide.split("\n## Renamed flags\n") as [string, string];
/** Flags that a text names, for instance `--out`. */
const parseFlags = (text: string) => new Set(text.match(/(?<![\w-])--[a-z][\w-]*/g));

/** Every command by its words, for instance "jobs get". Commands that only group others are left out. */
function* listCommands(command: Command, words: readonly string[] = []): Generator<[string, Command]> {
  if (command.commands.length === 0) yield [words.join(" "), command];
  for (const child of command.commands) yield* listCommands(child, [...words, child.name()]);
}
const program = buildProgram({ signal: new AbortController().signal, setResumeHint: () => {} });
const commands = [...listCommands(program)];
const flagsOf = (command: Command) => command.options.map(({ long }) => long!);

describe("docs/cli.md", () => {
  it("names every command", () => {
    expect(commands.length).toBeGreaterThan(15);
    for (const [words] of commands) expect(guide, words).toContain(`\`${words}`);
  });

  it("names every flag of every command", () => {
    const named = parseFlags(manual);
    for (const [words, command] of commands) {
      expect(command.options.length, words).toBeGreaterThan(0);
      for (const flag of flagsOf(command)) expect(named, `${words} ${flag}`).toContain(flag);
    }
  });

  it("names only flags that some command has", () => {
    const known = new Set(commands.flatMap(([, command]) => flagsOf(command)));
    for (const flag of ["--help", "--version"]) known.add(flag);
    for (const flag of parseFlags(manual)) expect(known, flag).toContain(flag);
  });

  it("lists every flag that has a new name, with both", () => {
    const rows = renamed.split("\n").map((row) => [...parseFlags(row)].join(" "));
    expect(RENAMED_FLAGS.length).toBeGreaterThan(10);
    for (const { before, now } of RENAMED_FLAGS) expect(rows).toContain(`${before} ${now}`);
  });
});
