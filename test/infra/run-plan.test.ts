import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConfig } from "../../infra/cloudflare/config.ts";
import { planSetup, type Step } from "../../infra/cloudflare/plan.ts";
import { installedWrangler, listsOneWith, runPlan, type Wrangler } from "../../infra/cloudflare/run-plan.ts";
import { newSecrets, readSecrets, writeSecrets } from "../../infra/cloudflare/secrets.ts";
import { ROOT } from "../../infra/cloudflare/worker-config.ts";
import { parseTokens } from "../../src/edge/jobs/auth/tokens.ts";
import { ACCOUNT, type Account, API_TOKEN, startAccount } from "./fake-cloudflare-api.ts";

const SECRET = "hush-hush-hush-hush-hush";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tilewright-infra-"));
});
afterAll(() => rm(scratch, { recursive: true }));

async function planOf(): Promise<Step[]> {
  const text = await readFile(join(ROOT, "infra/cloudflare/config.json"), "utf8");
  const secrets = ["TOKENS", "TOKEN"] as const;
  return planSetup(readConfig(text), {
    secrets,
    modelFiles: ["LICENSE", "model.json"],
    scratch,
    runtime: {},
  });
}

describe("running a plan", () => {
  const steps: Step[] = [
    { reason: "first", argv: ["a"], settled: "already exists" },
    { reason: "second", argv: ["b"], unless: { argv: ["list"], lists: { queue_name: "q", prefix: "p" } } },
    { reason: "third", argv: ["c"], secret: "TOKEN" },
  ];
  const run = async (answers: Record<string, { code: number; output: string }>) => {
    const calls: { argv: readonly string[]; input: string }[] = [];
    const lines: string[] = [];
    const wrangler: Wrangler = async (argv, input) => {
      calls.push({ argv, input });
      return answers[argv[0]!] ?? { code: 0, output: "" };
    };
    const failure = await runPlan(steps, {
      wrangler,
      secrets: { TOKEN: SECRET },
      log: (line) => lines.push(line),
    }).catch((error: Error) => error.message);
    return { calls, lines, failure, called: calls.map(({ argv }) => argv.join(" ")) };
  };

  it("runs steps in order, and passes secrets by standard input only", async () => {
    const { calls, lines, called, failure } = await run({});
    expect(failure).toBeUndefined();
    expect(called).toEqual(["a", "list", "b", "c"]);
    expect(calls.map(({ input }) => input)).toEqual(["", "", "", SECRET]);
    expect(lines).toHaveLength(3);
    expect(JSON.stringify([lines, called])).not.toContain(SECRET);
  });

  it("skips existing resources", async () => {
    const listing = "rule_id:     0\nqueue_name:  q\nprefix:      p\n";
    const { called, lines } = await run({
      a: { code: 1, output: "it already exists [code: 1]" },
      list: { code: 0, output: listing },
    });
    expect(called).toEqual(["a", "list", "c"]);
    expect(lines.filter((line) => line.endsWith("exists already"))).toHaveLength(2);
  });

  it("stops at the first failure, and reports the command", async () => {
    const { called, failure } = await run({
      list: { code: 1, output: "" },
      b: { code: 1, output: "no right" },
    });
    expect(called).toEqual(["a", "list", "b"]);
    expect(failure).toMatch(/\[2\/3\] second failed: wrangler b\nno right/);
  });

  it("finds a rule only if one entry has all its values", () => {
    const listing = "Fetching…\nqueue_name:  a\nprefix:      x/\n\nqueue_name:  b\nprefix:      y/\n";
    expect(listsOneWith(listing, { queue_name: "b", prefix: "y/" })).toBe(true);
    expect(listsOneWith(listing, { queue_name: "a", prefix: "y/" })).toBe(false);
    expect(listsOneWith("", { queue_name: "a" })).toBe(false);
  });
});

describe("secrets", () => {
  it("are generated once, readable by their owner only, and valid", async () => {
    const directory = join(scratch, "secrets");
    const made = newSecrets({});
    expect(Object.keys(made).sort()).toEqual(["CALLBACK_SECRET", "TOKEN", "TOKENS"]);
    expect(parseTokens(made).map(({ scopes }) => scopes)).toEqual([["admin"], ["submit", "read"]]);
    expect(made.TOKEN).toHaveLength(43);
    expect(newSecrets({}).TOKEN).not.toBe(made.TOKEN);
    await writeSecrets(directory, made);
    expect(await readSecrets(directory, {})).toEqual(made);
    expect((await stat(join(directory, "TOKEN"))).mode & 0o777).toBe(0o600);
    expect(newSecrets(made)).toEqual({});
    await expect(writeSecrets(directory, { TOKEN: "another" })).rejects.toThrow(/EEXIST/);
  });

  it("come from files first, then from the environment; blank values are ignored", async () => {
    const environment = {
      TILEWRIGHT_SECRET_TOKEN: ` ${SECRET}\n`,
      TILEWRIGHT_SECRET_WEBHOOKS: " ",
      TOKENS: "x",
    };
    expect(await readSecrets(join(scratch, "nowhere"), environment)).toEqual({ TOKEN: SECRET });
  });
});

describe("the installed wrangler, without a terminal", () => {
  let account: Account;
  beforeAll(async () => {
    account = await startAccount();
  });
  afterAll(() => account.stop());

  it("runs the whole plan, and skips existing resources the second time", { timeout: 300_000 }, async () => {
    const steps = await planOf();
    const wrangler = installedWrangler(ROOT, {
      ...process.env,
      CLOUDFLARE_API_BASE_URL: account.url,
      CLOUDFLARE_API_TOKEN: API_TOKEN,
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_LOG_PATH: join(scratch, "log"),
      // Debug settings must not log the secret.
      WRANGLER_LOG: "debug",
      WRANGLER_LOG_SANITIZE: "false",
    });
    const lines: string[] = [];
    const secrets = { TOKENS: SECRET, TOKEN: `${SECRET}!` };
    const run = (some: Step[]) => runPlan(some, { wrangler, secrets, log: (line) => lines.push(line) });
    await run(steps);
    const made = account.changes.map(({ what }) => what);
    expect(made).toEqual([
      ...["POST /r2/buckets", "POST /r2/buckets", "POST /r2/buckets"],
      ...["POST /queues", "POST /queues", "POST /queues", "POST /queues"],
      ...["PUT /r2/buckets/tilewright-scans/lifecycle", "PUT /r2/buckets/tilewright-results/lifecycle"],
      ...["LICENSE", "model.json"].map((file) => `PUT /r2/buckets/tilewright-models/objects/nuclei/${file}`),
      "POST /workers/scripts/tilewright/assets-upload-session",
      "PUT /workers/scripts/tilewright",
      "POST /workers/scripts/tilewright/subdomain",
      ...made.filter((what) => /-(tasks|events|dead)\/consumers$|^PUT \/workflows/.test(what)),
      "PUT /workers/scripts/tilewright/secrets",
      "PUT /workers/scripts/tilewright-segment",
      "POST /workers/scripts/tilewright-segment/subdomain",
      "POST /queues/id-tilewright-shards/consumers",
      "PUT /workers/scripts/tilewright-segment/secrets",
      "PUT /event_notifications/r2/tilewright-scans/configuration/queues/id-tilewright-events",
    ]);
    const bodyOf = (what: string) => JSON.parse(account.changes.find((change) => change.what === what)!.body);
    expect(bodyOf("PUT /workers/scripts/tilewright/secrets")).toMatchObject({ name: "TOKENS", text: SECRET });
    expect(bodyOf(made.at(-1)!).rules[0].actions).toEqual([
      "PutObject",
      "CompleteMultipartUpload",
      "CopyObject",
    ]);
    expect(lines.map((line) => line.trim())).toContain("https://tilewright.nobody.workers.dev");

    account.changes.length = 0;
    lines.length = 0;
    // The other steps run again, unchanged.
    const checked = steps.filter(({ unless }) => unless);
    await run(checked);
    expect(account.changes).toEqual([]);
    expect(lines.filter((line) => line.endsWith("exists already"))).toHaveLength(checked.length);

    expect(lines.join("\n")).not.toContain(SECRET);
    const logs = await readdir(join(scratch, "log"));
    expect(logs.length).toBeGreaterThan(0);
    for (const log of logs) expect(await readFile(join(scratch, "log", log), "utf8")).not.toContain(SECRET);
  });

  it("cannot deploy the edge function before the job service", { timeout: 300_000 }, async () => {
    const empty = await startAccount();
    const wrangler = installedWrangler(ROOT, {
      ...process.env,
      CLOUDFLARE_API_BASE_URL: empty.url,
      CLOUDFLARE_API_TOKEN: API_TOKEN,
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_LOG_PATH: join(scratch, "log"),
    });
    const steps = (await planOf()).filter(({ argv }) => argv[0] === "deploy").slice(1);
    await expect(runPlan(steps, { wrangler, secrets: {}, log: () => {} })).rejects.toThrow(
      /edge function failed/,
    );
    expect(empty.changes).toEqual([]);
    await empty.stop();
  });

  it("stops without a login", { timeout: 300_000 }, async () => {
    const wrangler = installedWrangler(ROOT, {
      ...process.env,
      CLOUDFLARE_API_BASE_URL: account.url,
      CLOUDFLARE_API_TOKEN: "another",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_LOG_PATH: join(scratch, "log"),
    });
    const steps = (await planOf()).slice(0, 1);
    await expect(runPlan(steps, { wrangler, secrets: {}, log: () => {} })).rejects.toThrow(/signed in/);
  });
});
