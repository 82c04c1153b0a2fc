import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { RENAMED_COMMANDS, RENAMED_FLAGS, translateRenamed } from "../../src/cli/options/renamed-flags.ts";
import { buildProgram } from "../../src/cli/program.ts";

const program = buildProgram({ signal: new AbortController().signal, setResumeHint: () => {} });

function findCommand(words: string): Command {
  return words.split(" ").reduce((command, word) => {
    const found = command.commands.find((c) => c.name() === word);
    expect(found, words).toBeDefined();
    return found!;
  }, program);
}

const flagNames = (command: Command) => command.options.map(({ long }) => long);

describe("a flag with a new name", () => {
  it.each(RENAMED_FLAGS)("$command $before is read as $now, with one note", ({ command, before, now }) => {
    const notes: string[] = [];
    const words = [...command.split(" "), "scan", before, "value", `${before}=other`];
    const translated = translateRenamed(words, (note) => notes.push(note));
    expect(translated).toEqual([...command.split(" "), "scan", now, "value", `${now}=other`]);
    expect(notes).toEqual([`${before} is now ${now}; the old name goes with the next release`]);
  });

  it.each(RENAMED_FLAGS)(
    "$command has $now, and $before is gone from its help",
    ({ command, before, now }) => {
      expect(flagNames(findCommand(command))).toContain(now);
      expect(flagNames(findCommand(command))).not.toContain(before);
    },
  );

  it("is unchanged behind --, and for another command that has it", () => {
    const words = ["segment", "--", "--blend"];
    expect(translateRenamed(words, () => expect.fail("a note"))).toEqual(words);
    const other = ["inspect", "--state", "x"];
    expect(translateRenamed(other, () => expect.fail("a note"))).toEqual(other);
  });
});

describe("a command with a new name", () => {
  it.each(RENAMED_COMMANDS)("$before is read as $now, its flags too", ({ before, now }) => {
    const notes: string[] = [];
    const translated = translateRenamed([...before.split(" "), "job", "--to", "u"], (note) =>
      notes.push(note),
    );
    expect(translated).toEqual([...now.split(" "), "job", "--server", "u"]);
    expect(notes[0]).toBe(`${before} is now ${now}; the old name goes with the next release`);
    findCommand(now);
  });
});
