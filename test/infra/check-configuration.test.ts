import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Configuration, findProblems } from "../../infra/cloudflare/check-configuration.ts";
import { readConfig } from "../../infra/cloudflare/config.ts";
import type { Secrets } from "../../infra/cloudflare/secrets.ts";
import { readWorkerConfig } from "../../infra/cloudflare/worker-config.ts";

const CONFIG = readConfig(
  readFileSync(join(import.meta.dirname, "../../infra/cloudflare/config.json"), "utf8"),
);
const SECRET = "hush-hush-hush-hush-hush";
const SECRETS: Secrets = {
  TOKENS: JSON.stringify([{ name: "lab", token: SECRET, scopes: ["submit", "read"] }]),
  TOKEN: SECRET,
};
const SHIPPED: Configuration = {
  config: CONFIG,
  secrets: SECRETS,
  jobs: readWorkerConfig("jobs"),
  segment: readWorkerConfig("segment"),
  probe: readWorkerConfig("probe"),
};
const SOURCES = JSON.stringify([
  {
    kind: "s3",
    bucket: "lab-scans",
    endpoint: "https://s3.eu-central-1.amazonaws.com",
    region: "eu-central-1",
  },
]);

const rule = (change: object) => JSON.stringify([{ name: "all", bucket: "tilewright-scans", ...change }]);

/** Log lines of the Workers' own checks, which name the invalid field. */
let logged: string[];
beforeEach(() => {
  logged = [];
  vi.spyOn(console, "error").mockImplementation((line) => void logged.push(String(line)));
});
afterEach(() => {
  expect(logged.join("\n")).not.toContain("hush");
  vi.restoreAllMocks();
});

function problems(change: (given: Configuration) => void): string[] {
  const given = structuredClone(SHIPPED);
  change(given);
  const found = findProblems(given);
  expect(found.join("\n")).not.toContain("hush");
  return found;
}

const jobVars = (given: Configuration) => given.jobs.vars as Record<string, string>;
const bothVars = (given: Configuration, name: string, value: string) => {
  jobVars(given)[name] = value;
  (given.segment.vars as Record<string, string>)[name] = value;
};

describe("the shipped configuration", () => {
  it("is valid", () => expect(findProblems(SHIPPED)).toEqual([]));

  it("is valid with everything configured", () => {
    expect(
      problems((given) => {
        bothVars(given, "SOURCES", SOURCES);
        jobVars(given).RULES = rule({
          bucket: "lab-scans",
          suffix: [".svs"],
          request: { variant: "int4-edge", callback: "https://lab.example.org/done" },
        });
        jobVars(given).CALLBACK_HOSTS = "lab.example.org";
        jobVars(given).SCANS_S3_ENDPOINT = "https://0.r2.cloudflarestorage.com";
        given.secrets = {
          ...SECRETS,
          CALLBACK_SECRET: SECRET,
          SCANS_S3_KEYS: JSON.stringify({ accessKeyId: "id", secretAccessKey: SECRET }),
          SOURCE_KEYS: JSON.stringify({ "lab-scans": { accessKeyId: "id", secretAccessKey: SECRET } }),
          WEBHOOKS: JSON.stringify({
            s3: { token: SECRET },
            sns: { topics: ["arn:aws:sns:eu-central-1:123456789012:tilewright"] },
            eventbridge: { apiKey: SECRET },
            minio: { token: SECRET },
          }),
        };
      }),
    ).toEqual([]);
  });
});

describe("several queues of shards", () => {
  const more = (given: Configuration, bound: readonly number[], consumed: readonly number[]) => {
    given.config.queues.shards.push(...consumed.map((n) => `tilewright-shards-${n}`));
    for (const n of consumed) (given.segment.consumes as unknown[]).push({ queue: `tilewright-shards-${n}` });
    for (const n of bound) Object.assign(given.jobs.produces, { [`SHARDS_${n}`]: `tilewright-shards-${n}` });
  };

  it("are valid", () => expect(problems((g) => more(g, [1, 2, 3], [1, 2, 3]))).toEqual([]));

  it("may be consumed without being chosen, to drain them", () =>
    expect(problems((g) => more(g, [1], [1, 2, 3]))).toEqual([]));

  it("are not chosen without a consumer", () => {
    expect(problems((g) => more(g, [1, 2], [1]))).toEqual([
      "tilewright uses the queue tilewright-shards-2, which config.json does not name",
    ]);
  });

  it("have no gap, behind which queues would never be chosen", () => {
    expect(problems((g) => more(g, [2], [1, 2])).join("\n")).toContain("binds no queue to SHARDS_1");
  });

  it("are different queues", () => {
    expect(problems((g) => void Object.assign(g.jobs.produces, { SHARDS_1: "tilewright-shards" }))).toEqual([
      "tilewright binds one queue of shards twice",
    ]);
  });
});

describe("reports configurations that would not work", () => {
  it.each<[string, (given: Configuration) => void, RegExp]>([
    [
      "another bucket",
      (g) => void Object.assign(g.segment.buckets, { SCANS: "other" }),
      /binds SCANS.*other/,
    ],
    ["another bucket of the probe", (g) => void Object.assign(g.probe.buckets, { MODELS: "other" }), /probe/],
    [
      "a queue that config.json does not create",
      (g) => void Object.assign(g.jobs.produces, { NEW: "tilewright-new" }),
      /tilewright-new/,
    ],
    [
      "a queue without a consumer",
      (g) => void (g.segment.consumes as unknown[]).pop(),
      /shards.* has no consumer/,
    ],
    [
      "ledgers elsewhere",
      (g) => void Object.assign(g.segment.foreignObjects, { LEDGERS: "x" }),
      /looks for LEDGERS/,
    ],
    ["another model", (g) => bothVars(g, "MODEL", "hippocampus"), /MODEL hippocampus/],
    ["another variant in one Worker", (g) => (jobVars(g).VARIANT = "int4"), /VARIANT is not the same/],
    ["another SCANS_BUCKET", (g) => bothVars(g, "SCANS_BUCKET", "x"), /SCANS_BUCKET must/],
    ["a rule for an unknown bucket", (g) => (jobVars(g).RULES = rule({ bucket: "other" })), /bucket other/],
    ["a rule for another model", (g) => (jobVars(g).RULES = rule({ request: { model: "x" } })), /asks for x/],
    [
      "a rule for another variant",
      (g) => (jobVars(g).RULES = rule({ request: { variant: "int4" } })),
      /nuclei int4,/,
    ],
    [
      "a rule with a callback that is not allowed",
      (g) => {
        g.secrets.CALLBACK_SECRET = SECRET;
        jobVars(g).CALLBACK_HOSTS = "lab.example.org";
        jobVars(g).RULES = rule({ request: { callback: "https://other.example.org/" } });
      },
      /callback to a host/,
    ],
    ["no RESULTS_BUCKET", (g) => delete jobVars(g).RESULTS_BUCKET, /RESULTS_BUCKET must/],
    ["invalid rules", (g) => (jobVars(g).RULES = '[{"name":"a"}]'), /RULES must be/],
    ["internal sources", (g) => bothVars(g, "SOURCES", '[{"kind":"http","host":"10.0.0.1"}]'), /SOURCES/],
    ["sources in one Worker only", (g) => (jobVars(g).SOURCES = SOURCES), /SOURCES is not the same/],
    [
      "keys of an unknown bucket",
      (g) => (g.secrets.SOURCE_KEYS = '{"b":{"accessKeyId":"i","secretAccessKey":"s"}}'),
      /bucket b/,
    ],
    ["callbacks without a signature", (g) => (jobVars(g).CALLBACK_HOSTS = "a.example"), /CALLBACK_SECRET/],
    [
      "incomplete access for presigned uploads",
      (g) => (g.secrets.SCANS_S3_KEYS = `{"accessKeyId":"${SECRET}"`),
      /SCANS_S3_ENDPOINT/,
    ],
    [
      "presigned with half a key",
      (g) => {
        jobVars(g).SCANS_S3_ENDPOINT = "https://0.r2.cloudflarestorage.com";
        g.secrets.SCANS_S3_KEYS = `{"accessKeyId":"${SECRET}"}`;
      },
      /SCANS_S3_KEYS must/,
    ],
    ["no tokens", (g) => delete g.secrets.TOKENS, /--generate/],
    ["no token", (g) => delete g.secrets.TOKEN, /--generate/],
    [
      "tokens in a wrong form",
      (g) => (g.secrets.TOKENS = JSON.stringify({ token: SECRET })),
      /TOKENS must be/,
    ],
    ["tokens that are no JSON", (g) => (g.secrets.TOKENS = SECRET), /TOKENS must be/],
    ["a token that is too short", (g) => (g.secrets.TOKEN = "hush"), /TOKEN must have/],
    ["a token with a blank", (g) => (g.secrets.TOKEN = `${SECRET} ${SECRET}`), /TOKEN must have/],
    ["webhooks in a wrong form", (g) => (g.secrets.WEBHOOKS = `{"s3":{"token":"hush"}}`), /WEBHOOKS must be/],
    [
      "a webhook of no kind",
      (g) => (g.secrets.WEBHOOKS = `{"gcs":{"token":"${SECRET}"}}`),
      /WEBHOOKS must be/,
    ],
    ["no webhooks at all", (g) => (g.secrets.WEBHOOKS = "{}"), /accepts no events/],
    ["a secret that is too long", (g) => (g.secrets.CALLBACK_SECRET = SECRET.repeat(300)), /7200 bytes/],
  ])("%s", (_, change, message) => {
    expect(problems(change).join("\n")).toMatch(message);
  });
});
