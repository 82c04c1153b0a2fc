import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { resultsLifecycle, scansCors, scansLifecycle } from "../../infra/cloudflare/bucket-rules.ts";
import { type Config, readConfig } from "../../infra/cloudflare/config.ts";
import { planProbe, planSetup, type Step } from "../../infra/cloudflare/plan.ts";
import { SECRETS } from "../../infra/cloudflare/secrets.ts";
import { readWorkerConfig, WORKERS } from "../../infra/cloudflare/worker-config.ts";
import { jobKeys } from "../../src/edge/shared/job-keys.ts";
import { type Help, refusal, wranglerHelp } from "./wrangler-help.ts";

const CONFIG_TEXT = readFileSync(join(import.meta.dirname, "../../infra/cloudflare/config.json"), "utf8");
const SHIPPED = readConfig(CONFIG_TEXT);
/** A configuration with every option. */
const FULL: Config = {
  ...SHIPPED,
  location: "weur",
  browserOrigins: ["https://scans.example.org"],
  notifications: [
    { prefix: "uploads/", suffix: "" },
    { prefix: "scanner/", suffix: ".svs" },
  ],
};
const KNOWN = {
  secrets: [...new Set(Object.values(SECRETS).flatMap((list) => list.map(({ name }) => name)))],
  modelFiles: ["LICENSE", "model.json", "golden/input.u8.bin", "nuclei.onnx"],
  scratch: "/scratch",
  runtime: {},
};
/** Of a model that the engine cannot run. */
const OTHER = {
  ...KNOWN,
  runtime: {
    entry: "src/edge/segment/worker-onnxruntime.ts",
    reason: "the engine does not have the operator Erf",
  },
};

const COMMANDS = [
  "whoami",
  "deploy",
  "secret put",
  "queues create",
  "queues info",
  "r2 bucket create",
  "r2 bucket info",
  "r2 bucket lifecycle set",
  "r2 bucket cors set",
  "r2 bucket notification create",
  "r2 bucket notification list",
  "r2 object put",
];

const commandOf = (argv: readonly string[]) =>
  COMMANDS.find((command) => `${argv.join(" ")} `.startsWith(`${command} `));
const argvs = (steps: readonly Step[]) =>
  steps.flatMap((s) => (s.unless ? [s.argv, s.unless.argv] : [s.argv]));

describe("the planned calls, checked against the help of the installed wrangler", () => {
  const plans = {
    setup: planSetup(SHIPPED, KNOWN),
    full: planSetup(FULL, KNOWN),
    probe: planProbe(FULL, KNOWN),
    other: planSetup(SHIPPED, OTHER),
  };
  const help = new Map<string, Help | undefined>();
  beforeAll(async () => {
    for (const command of COMMANDS) help.set(command, await wranglerHelp(command.split(" ")));
  });

  it.each(Object.entries(plans))("%s", (_, steps) => {
    for (const argv of argvs(steps)) {
      const command = commandOf(argv);
      expect(command, argv.join(" ")).toBeDefined();
      expect(help.get(command!)?.command.join(" ")).toBe(command);
      const args = argv.slice(help.get(command!)!.command.length);
      expect(refusal(help.get(command!)!, args), argv.join(" ")).toBeUndefined();
    }
  });

  it("use every command that is checked", () => {
    const used = new Set(argvs(plans.full).map(commandOf));
    expect([...COMMANDS].filter((command) => !used.has(command))).toEqual([]);
  });

  it("fail the check where they are wrong", async () => {
    const create = help.get("r2 bucket notification create")!;
    const good = ["scans", "--event-type", "object-create", "--queue", "events"];
    expect(refusal(create, good)).toBeUndefined();
    expect(refusal(create, good.slice(1))).toMatch(/arguments/);
    expect(refusal(create, [...good, "--suffxi", ".svs"])).toMatch(/no flag/);
    expect(refusal(create, good.slice(0, 3))).toMatch(/--queue is missing/);
    expect(refusal(create, good.slice(0, 4))).toMatch(/lacks its value/);
    expect(refusal(create, good.with(2, "object-made"))).toMatch(/may not be/);
    expect(await wranglerHelp(["r2", "bucket", "notify"])).toBeUndefined();
    expect(await wranglerHelp(["r2", "bucket"])).toBeUndefined();
  });
});

describe("the order of the plan", () => {
  const steps = planSetup(FULL, KNOWN);
  const at = (...words: string[]) =>
    steps.findIndex(({ argv }) => words.every((word) => argv.includes(word)));

  it("checks the login first", () => expect(steps[0]!.argv[0]).toBe("whoami"));

  it("creates resources before the Workers that bind them", () => {
    const deployed = at("deploy", WORKERS.jobs);
    for (const worker of ["jobs", "segment"] as const) {
      const { buckets, produces, consumes } = readWorkerConfig(worker);
      for (const bucket of Object.values(buckets)) {
        expect(at("r2", "create", bucket), bucket).toBeGreaterThan(0);
        expect(at("r2", "create", bucket)).toBeLessThan(deployed);
      }
      const dead = consumes.flatMap((c) => (c.deadLetterQueue ? [c.deadLetterQueue] : []));
      for (const queue of [...Object.values(produces), ...consumes.map((c) => c.queue), ...dead]) {
        expect(at("queues", "create", queue), queue).toBeGreaterThan(0);
        expect(at("queues", "create", queue)).toBeLessThan(deployed);
      }
    }
  });

  it("deploys the ledgers before the Worker that binds them", () => {
    expect(readWorkerConfig("segment").foreignObjects.LEDGERS).toBe(readWorkerConfig("jobs").name);
    expect(at("deploy", WORKERS.jobs)).toBeLessThan(at("deploy", WORKERS.segment));
  });

  it("sets secrets after deploying a Worker, and notifications last", () => {
    for (const worker of ["jobs", "segment"] as const) {
      for (const { name } of SECRETS[worker]) {
        expect(at("secret", name, WORKERS[worker])).toBeGreaterThan(at("deploy", WORKERS[worker]));
      }
    }
    expect(at("notification", "uploads/")).toBe(steps.length - 2);
    expect(at("notification", "scanner/", ".svs")).toBe(steps.length - 1);
  });

  it("uploads the model's manifest after the files it names", () => {
    const puts = steps.filter(({ argv }) => argv[1] === "object").map(({ argv }) => argv[3]);
    expect(puts).toHaveLength(4);
    expect(puts.at(-1)).toBe("tilewright-models/nuclei/model.json");
  });

  it("needs no prompts: confirmations are forced, inputs come from standard input", () => {
    for (const { argv, secret } of steps) {
      if (argv[0] === "r2" && (argv[3] === "set" || argv[1] === "object")) expect(argv).toContain("--force");
      if (argv[0] === "secret") expect(secret).toBe(argv[2]);
    }
  });

  it("sets no absent secret, and no CORS without a page", () => {
    const few = planSetup(SHIPPED, { ...KNOWN, secrets: ["TOKENS", "TOKEN"] });
    expect(few.flatMap((s) => (s.secret ? [s.secret] : []))).toEqual(["TOKENS", "TOKEN"]);
    expect(few.some(({ argv }) => argv.includes("cors"))).toBe(false);
  });

  it("needs no queues and no job service for the probe", () => {
    const probe = planProbe(FULL, KNOWN);
    expect(probe.some(({ argv }) => argv[0] === "queues")).toBe(false);
    const { produces, consumes, foreignObjects, buckets, vars } = readWorkerConfig("probe");
    expect({ produces, consumes, foreignObjects }).toEqual({
      produces: {},
      consumes: [],
      foreignObjects: {},
    });
    const segment = readWorkerConfig("segment");
    expect(segment.buckets).toMatchObject(buckets);
    expect(segment.vars).toMatchObject(vars);
  });
});

describe("rules of the buckets", () => {
  it("delete work/, and never results, scans or models", () => {
    const { rules } = resultsLifecycle(SHIPPED);
    const removing = rules.filter((rule) => rule.deleteObjectsTransition);
    expect(removing).toHaveLength(1);
    const { prefix } = removing[0]!.conditions;
    expect(jobKeys.work("0")).toContain(prefix);
    expect(jobKeys.results("0").startsWith(prefix)).toBe(false);
    expect(removing[0]!.deleteObjectsTransition!.condition).toEqual({ type: "Age", maxAge: 14 * 86_400 });
    expect(scansLifecycle(SHIPPED).rules).toEqual([
      {
        id: "tilewright-unfinished-uploads",
        enabled: true,
        conditions: { prefix: "" },
        abortMultipartUploadsTransition: { condition: { type: "Age", maxAge: 7 * 86_400 } },
      },
    ]);
  });

  it("let pages put parts and see their etags", () => {
    expect(scansCors(FULL).rules).toMatchObject([
      { allowed: { origins: ["https://scans.example.org"], methods: ["PUT"] }, exposeHeaders: ["ETag"] },
    ]);
  });
});

describe("the configuration", () => {
  // Loosely typed, to write invalid values too.
  interface Loose {
    buckets: { scans: string; results: string };
    queues: { tasks: string; shards: string | string[] };
    notifications: { prefix: string; suffix?: string }[];
    browserOrigins: string[];
    keepWorkDays: number;
    modelPackage: string;
    bukets?: object;
  }
  const changed = (change: (config: Loose) => void) => {
    const config = JSON.parse(CONFIG_TEXT) as Loose;
    change(config);
    return () => readConfig(JSON.stringify(config));
  };

  it.each<[string, (config: Loose) => void, RegExp]>([
    ["a bucket twice", (c) => (c.buckets.results = c.buckets.scans), /bucket/],
    ["a bucket that R2 would refuse", (c) => (c.buckets.scans = "Scans"), /buckets\.scans/],
    [
      "a queue the job service would not know",
      (c) => (c.queues.tasks = "work"),
      /queues\.tasks.*tilewright-tasks/,
    ],
    [
      "a queue of shards twice",
      (c) => (c.queues.shards = ["tilewright-shards", "tilewright-shards"]),
      /queue names must differ/,
    ],
    ["no queue of shards", (c) => (c.queues.shards = []), /queues\.shards/],
    ["no rule for uploads", (c) => (c.notifications = [{ prefix: "in/" }]), /uploads\//],
    ["rules that overlap", (c) => c.notifications.push({ prefix: "a/", suffix: ".svs" }), /overlap/],
    ["an origin with a path", (c) => (c.browserOrigins = ["https://a.example/"]), /origin/],
    ["no days at all", (c) => (c.keepWorkDays = 0), /keepWorkDays/],
    ["a field of no meaning", (c) => (c.bukets = {}), /the whole/],
    ["a way out of the repository", (c) => (c.modelPackage = "../nuclei"), /modelPackage/],
  ])("rejects %s", (_, change, message) => expect(changed(change)).toThrow(message));

  it("accepts one or several shard queues, and creates all", () => {
    const shards = ["tilewright-shards", "tilewright-shards-1", "tilewright-shards-2"];
    expect(SHIPPED.queues.shards).toEqual(["tilewright-shards"]);
    const steps = planSetup(changed((c) => (c.queues.shards = shards))(), KNOWN);
    const made = steps.flatMap(({ argv }) => (argv[1] === "create" && argv[0] === "queues" ? [argv[2]] : []));
    expect(made).toEqual([...shards, "tilewright-tasks", "tilewright-events", "tilewright-dead"]);
  });

  it("rejects a file that is not JSON", () => expect(() => readConfig("{")).toThrow(/not JSON/));

  it("publishes an upload exactly once, for all rules", () => {
    const part = fc.constantFrom("", "u", "uploads/", "uploads/a", "in/", ".svs", "s", ".tif");
    const rules = fc.array(fc.record({ prefix: part, suffix: part }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        rules,
        fc.constantFrom("uploads/a/x.svs", "uploads/b/y", "uploads/u/s.tif"),
        (notifications, key) => {
          const config = { ...JSON.parse(CONFIG_TEXT), notifications };
          let read: Config;
          try {
            read = readConfig(JSON.stringify(config));
          } catch {
            return;
          }
          const met = read.notifications.filter((r) => key.startsWith(r.prefix) && key.endsWith(r.suffix));
          expect(met).toHaveLength(1);
        },
      ),
      { numRuns: 500 },
    );
  });
});

it("a model that the engine cannot run gets the edge function on onnxruntime-web, and the step says why", () => {
  for (const [steps, config] of [
    [planSetup(SHIPPED, OTHER), WORKERS.segment],
    [planProbe(SHIPPED, OTHER), WORKERS.probe],
  ] as const) {
    const deployed = steps.filter(({ argv }) => argv[0] === "deploy");
    expect(deployed.at(-1)).toMatchObject({
      argv: ["deploy", OTHER.runtime.entry, "--config", config],
      reason: expect.stringMatching(/ on onnxruntime-web: the engine does not have the operator Erf$/),
    });
  }
});
