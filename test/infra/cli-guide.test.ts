import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const guide = readFileSync(join(ROOT, "docs/cli.md"), "utf8");
const [manual, renamed] = guide.split("\n## Renamed flags\n") as [string, string];
/** Flags and commands that a text names: `--out`, and `jobs get`. */
const parseFlags = (text: string) => new Set(text.match(/(?<![\w-])--[a-z][\w-]*/g));

/** The help of every command, by its words: "jobs get". Commands that only group others are left out. */
const helps = new Map<string, string>();
async function readHelps(words: readonly string[]): Promise<void> {
  const args = [join(ROOT, "src/cli/main.ts"), ...words, "--help"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const [, list] = stdout.split("\nCommands:\n");
  if (list === undefined) helps.set(words.join(" "), stdout);
  const commands = [...(list ?? "").matchAll(/^ {2}([a-z]\S*)/gm)].map(([, name]) => name!);
  for (const name of commands) if (name !== "help") await readHelps([...words, name]);
}
beforeAll(() => readHelps([]));

describe("docs/cli.md", () => {
  it("names every command", () => {
    expect(helps.size).toBeGreaterThan(15);
    for (const command of helps.keys()) expect(guide, command).toContain(`\`${command}`);
  });

  it("names every flag of the help", () => {
    const named = parseFlags(guide);
    for (const [command, help] of helps) {
      const flags = parseFlags(help.replaceAll(/^ {3,}(?!-).*$/gm, ""));
      expect(flags.size, command).toBeGreaterThan(0);
      flags.delete("--help");
      for (const flag of flags) expect(named, `${command} ${flag}`).toContain(flag);
    }
  });

  it("names only flags that some command has, under this name or the one it had before", () => {
    const known = parseFlags([...helps.values()].join("\n"));
    const before = new Map(
      renamed
        .split("\n")
        .map((row) => [...parseFlags(row)])
        .filter((names) => names.length === 2)
        .map(([old, now]) => [now!, old!]),
    );
    expect(before.size).toBeGreaterThan(8);
    for (const flag of parseFlags(manual)) {
      expect(known.has(flag) || known.has(before.get(flag) ?? ""), flag).toBe(true);
    }
  });
});
