/**
 * Deploys Tilewright to a Cloudflare account, or prints the plan: docs/deploy.md.
 *   npm run setup:cloudflare -- [--dry-run] [--probe] [--generate] [--config <file>] [--secrets <directory>]
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chooseEdgeRuntime } from "../../src/cli/stack/edge-runtime.ts";
import { findProblems } from "./check-configuration.ts";
import { readConfig } from "./config.ts";
import { planProbe, planSetup, type Step } from "./plan.ts";
import { installedWrangler, runPlan } from "./run-plan.ts";
import { newSecrets, readSecrets, type SecretName, writeSecrets } from "./secrets.ts";
import { ROOT, readWorkerConfig } from "./worker-config.ts";

const { values: flags } = parseArgs({
  options: {
    "dry-run": { type: "boolean", default: false },
    probe: { type: "boolean", default: false },
    generate: { type: "boolean", default: false },
    config: { type: "string", default: join(import.meta.dirname, "config.json") },
    secrets: { type: "string", default: join(import.meta.dirname, "secrets") },
  },
});

async function main(): Promise<void> {
  const config = readConfig(await readFile(flags.config, "utf8"));
  const secrets = await readSecrets(resolve(flags.secrets), process.env);
  if (flags.generate) {
    const made = newSecrets(secrets);
    Object.assign(secrets, made);
    if (!flags["dry-run"]) {
      for (const path of await writeSecrets(resolve(flags.secrets), made)) console.log(`made ${path}`);
    }
  }
  const segment = readWorkerConfig("segment");
  const problems = findProblems({
    config,
    secrets,
    jobs: readWorkerConfig("jobs"),
    segment,
    probe: readWorkerConfig("probe"),
  });
  for (const problem of problems) console.error(`problem: ${problem}`);
  if (problems.length > 0 && !flags["dry-run"]) {
    throw new Error("nothing was changed: fix these first");
  }

  const scratch = await mkdtemp(join(tmpdir(), "tilewright-setup-"));
  try {
    const known = {
      secrets: Object.keys(secrets) as SecretName[],
      modelFiles: await filesBelow(join(ROOT, config.modelPackage)),
      scratch,
      runtime: await chooseEdgeRuntime(join(ROOT, config.modelPackage), segment.vars.VARIANT || undefined),
    };
    const steps = flags.probe ? planProbe(config, known) : planSetup(config, known);
    if (flags["dry-run"]) for (const line of steps.flatMap(describe)) console.log(line);
    else await runPlan(steps, { wrangler: installedWrangler(ROOT), secrets, log: console.log });
  } finally {
    await rm(scratch, { recursive: true });
  }
  if (problems.length > 0) process.exitCode = 2;
}

function describe({ reason, argv, unless, secret, file }: Step): string[] {
  return [
    `# ${reason}`,
    ...(unless ? [`#   skipped if this finds it: wrangler ${unless.argv.map(quoted).join(" ")}`] : []),
    ...(file ? [`#   ${file.path} holds ${JSON.stringify(file.json)}`] : []),
    `wrangler ${argv.map(quoted).join(" ")}${secret ? `   # the value of ${secret} on standard input` : ""}`,
  ];
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .sort();
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
