import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Step } from "./plan.ts";
import type { Secrets } from "./secrets.ts";

export interface Answer {
  code: number;
  /** Standard output and error, interleaved. */
  output: string;
}

/** Calls wrangler with `input` on standard input, which is not a terminal, so wrangler prompts for nothing. */
export type Wrangler = (argv: readonly string[], input: string) => Promise<Answer>;

/** @throws {Error} at the first step that fails; the steps before it are done and can be repeated */
export async function runPlan(
  steps: readonly Step[],
  deps: { wrangler: Wrangler; secrets: Secrets; log: (line: string) => void },
): Promise<void> {
  const { wrangler, secrets, log } = deps;
  for (const [i, step] of steps.entries()) {
    const place = `[${i + 1}/${steps.length}] ${step.reason}`;
    if (await isThere(step, wrangler)) {
      log(`${place}: exists already`);
      continue;
    }
    if (step.file) {
      await mkdir(dirname(step.file.path), { recursive: true });
      await writeFile(step.file.path, `${JSON.stringify(step.file.json, null, 2)}\n`);
    }
    const { code, output } = await wrangler(step.argv, step.secret ? secrets[step.secret]! : "");
    if (code !== 0 && step.settled && output.includes(step.settled)) {
      log(`${place}: exists already`);
      continue;
    }
    if (code !== 0) {
      throw new Error(`${place} failed: wrangler ${step.argv.join(" ")}\n${output.trim()}`);
    }
    log(place);
    if (step.showsAddress)
      for (const address of output.match(/https:\/\/\S+\.workers\.dev\b/g) ?? []) log(`    ${address}`);
  }
}

async function isThere({ unless }: Step, wrangler: Wrangler): Promise<boolean> {
  if (!unless) return false;
  const { code, output } = await wrangler(unless.argv, "");
  return code === 0 && (unless.lists === undefined || listsOneWith(output, unless.lists));
}

/** Whether a listing of wrangler (entries separated by blank lines, each line "label: value") has an entry with all values. */
export function listsOneWith(listing: string, wanted: Readonly<Record<string, string>>): boolean {
  return listing.split(/\n\s*\n/).some((block) => {
    const values = new Map(
      [...block.matchAll(/^(\w+):[ \t]*(.*)$/gm)].map(([, label, value]) => [label!, value!.trim()]),
    );
    return Object.entries(wanted).every(([label, value]) => values.get(label) === value);
  });
}

/** The wrangler of this repository, in its root. */
export function installedWrangler(root: string, environment = process.env): Wrangler {
  return (argv, input) =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [`${root}/node_modules/wrangler/bin/wrangler.js`, ...argv], {
        cwd: root,
        env: {
          ...environment,
          WRANGLER_SEND_METRICS: "false",
          WRANGLER_HIDE_BANNER: "true",
          // Otherwise its log files would contain bodies of requests.
          WRANGLER_LOG_SANITIZE: "true",
        },
        stdio: ["pipe", "pipe", "pipe"],
      });
      let output = "";
      const keep = (text: string) => {
        output += text;
      };
      child.stdout.setEncoding("utf8").on("data", keep);
      child.stderr.setEncoding("utf8").on("data", keep);
      // wrangler may exit before it reads its input; its output says why.
      child.stdin.on("error", () => {}).end(input);
      child.on("error", reject);
      child.on("close", (code) => resolve({ code: code ?? 1, output: stripVTControlCharacters(output) }));
    });
}
