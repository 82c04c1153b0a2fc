import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { downloadOutputs } from "../../src/client/download.ts";
import { JobClient } from "../../src/client/job-client.ts";
import { runTransferWorker } from "../edge/jobs/transfer-worker/run.ts";
import { type Bundle, bundleWorker } from "../edge/run-worker.ts";
import { type Fault, FlakyService, JOB } from "./flaky-service.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
const MIB = 2 ** 20;
const TOKEN = "a-token-nobody-guesses";

let directory: string;
let scan: string;
let bytes: Buffer;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilewright-upload-"));
});
beforeEach(() => {
  scan = join(directory, `scan ${randomBytes(4).toString("hex")}.svs`);
  bytes = randomBytes(5 * MIB + 4321);
  writeFileSync(scan, bytes);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, XDG_STATE_HOME: join(directory, "state"), TILEWRIGHT_TOKEN: "", ...env },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (text) => {
    stdout += text;
  });
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((resolve) =>
    child.on("close", (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended };
}

const tilewright = (args: string[], env?: Record<string, string>) => start(args, env).ended;

function expectRefusal({ code, stderr }: Ended, exitCode: number, sentence: RegExp): void {
  const sentences = stderr.split("\n").filter((line) => line.startsWith("tilewright: "));
  expect(sentences, stderr).toHaveLength(1);
  expect(sentences[0]).toMatch(sentence);
  expect(code, stderr).toBe(exitCode);
}

let outs = 0;
const newOut = () => join(directory, `out-${outs++}`);

describe("with the Worker's own routes", () => {
  let bundle: Bundle;
  let worker: Miniflare;
  let to: string;
  const files: Record<string, string> = {
    "objects.geojson": '{"type":"FeatureCollection","features":[]}',
    "labels.ome.zarr/zarr.json": "{}",
    "labels.ome.zarr/0/c/0/0": "chunk",
    "run.json": JSON.stringify({
      outputs: [
        { name: "labels.ome.zarr", byteLength: 7 },
        { name: "objects.geojson", byteLength: 42 },
      ],
      job: JOB,
    }),
  };
  beforeAll(async () => {
    bundle = await bundleWorker("test/edge/jobs/transfer-worker/wrangler.toml");
    worker = await runTransferWorker(bundle, { bindings: { JOB: "later" } });
    to = (await worker.ready).href;
    const results = await worker.getR2Bucket("RESULTS");
    for (const [name, text] of Object.entries(files)) {
      const sha256 = createHash("sha256").update(text).digest("hex");
      await results.put(`results/${JOB}/${name}`, text, { customMetadata: { sha256 } });
    }
  });
  afterAll(async () => {
    await worker?.dispose();
    await bundle?.remove();
  });

  it("uploads a scan, follows its job, and downloads its results", async () => {
    const out = newOut();
    const args = ["upload", scan, "--server", to, "--mpp", "0.25", "--no-tissue-mask", "--out", out];
    const { code, stdout, stderr } = await tilewright(args);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`${out}/objects.geojson  42 B\n${out}/run.json`);
    expect(stderr).toMatch(/uploading\n.*5\.2\/5\.2 MB.*\nwaiting for the job\njob 0123/s);
    expect(stderr).toMatch(/10\/10 windows, [\d.]+\/s, 0 s left\ndownloading\n.*done\n$/s);
    for (const [name, text] of Object.entries(files))
      expect(readFileSync(join(out, name), "utf8")).toBe(text);
    expect(existsSync(join(out, ".tilewright"))).toBe(false);

    const { objects } = await (await worker.getR2Bucket("SCANS")).list();
    const { key } = objects.find(({ key }) => key.endsWith(scan.slice(directory.length + 1)))!;
    const object = await (await worker.getR2Bucket("SCANS")).get(key);
    expect(Buffer.from(await object!.arrayBuffer()).equals(bytes)).toBe(true);
    expect(JSON.parse(object!.customMetadata!["tilewright-request"]!)).toMatchObject({
      mpp: 0.25,
      settings: { tissueMask: false, precision: "u8" },
    });

    // An existing run is kept unless it is to be replaced; nothing is sent before that is checked.
    expectRefusal(await tilewright(args), 5, /holds a finished run: choose another --out, or --force/);
    writeFileSync(join(out, "objects.geojson"), "mine");
    expect((await tilewright([...args, "--force"])).code).toBe(0);
    expect(readFileSync(join(out, "objects.geojson"), "utf8")).toBe(files["objects.geojson"]);
  });

  it("without --watch prints only the job's id", async () => {
    const { code, stdout, stderr } = await tilewright(["upload", scan, "--server", to]);
    expect(code, stderr).toBe(0);
    expect(stdout).toBe(`${JOB}\n`);
    const json = await tilewright(["upload", scan, "--server", to, "--json"]);
    expect(JSON.parse(json.stdout)).toEqual({ id: JOB });
    for (const line of json.stderr.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("type");
  });

  it("a job that the service rejects ends with the service's message", async () => {
    const refusing = await runTransferWorker(bundle, { bindings: { JOB: "refused" } });
    try {
      const refused = await tilewright(["upload", scan, "--server", (await refusing.ready).href]);
      expectRefusal(refused, 7, /started no job: the model is not there/);
    } finally {
      await refusing.dispose();
    }
  });
});

describe("with a service that misbehaves", () => {
  let service: FlakyService;
  let to: string;
  beforeEach(async () => {
    service = new FlakyService();
    to = await service.start();
  });
  afterEach(() => service.stop());

  const once: Record<string, Fault[]> = {
    "POST new uploads": [503],
    "PUT part": ["drop", 500, "drop after body", 429, undefined, 503],
    "POST complete": ["drop after body"],
    "GET uploads": [502],
    "GET jobs": ["drop"],
    "GET outputs": [undefined, 503],
  };

  it("temporary failures are retried, and the result is complete", async () => {
    service.fault = (kind, nth) => once[kind]?.[nth - 1];
    service.eventsAtATime = 2;
    service.states = [
      { state: "planning" },
      ...Array.from({ length: 5 }, (_, done) => ({ state: "mapping", windows: { total: 5, done } })),
      { state: "done", windows: { total: 5, done: 5 } },
    ];
    service.files.set("overlay.png", randomBytes(300_000)).set("labels.ome.zarr/c/0", randomBytes(200_000));
    service.breakAfter = 100_000;
    const out = newOut();
    const args = ["upload", scan, "--server", to, "--out", out, "--token", TOKEN];
    const { code, stderr } = await tilewright(args);
    expect(code, stderr).toBe(0);
    expect(service.scan()!.equals(bytes)).toBe(true);
    for (const [name, content] of service.files) {
      expect(readFileSync(join(out, name)).equals(content), name).toBe(true);
    }
    expect(existsSync(join(out, ".tilewright"))).toBe(false);
    expect(stderr).toContain("trying again in");
    expect(stderr).toMatch(/planning\nsegmenting\n.*5\/5 windows/s);
    // The broken download was resumed where it broke.
    expect(service.headers.filter(({ range }) => range === "bytes=100000-")).toHaveLength(2);
    for (const { authorization } of service.headers) expect(authorization).toBe(`Bearer ${TOKEN}`);
    expect(service.count("GET events")).toBeGreaterThan(1);
  });

  it.each(["SIGINT", "SIGKILL"] as const)(
    "an upload ended by %s goes on with the same command",
    async (signal) => {
      // The fourth part hangs until the command ends.
      let hold = true;
      let arrived = () => {};
      const fourth = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      service.fault = (kind, nth) => {
        if (kind !== "PUT part" || nth < 4 || !hold) return undefined;
        arrived();
        return 503;
      };
      service.retryAfter = "60";
      const args = ["upload", scan, "--server", to, "--parallel-uploads", "1"];
      const run = start(args);
      await Promise.race([fourth, run.ended]);
      run.child.kill(signal);
      const { code, stderr } = await run.ended;
      expect(code).toBe(signal === "SIGINT" ? 130 : null);
      if (signal === "SIGINT") expect(stderr).toContain("continue later with the same command");
      hold = false;
      const again = await tilewright(args);
      expect(again.code, again.stderr).toBe(0);
      expect(again.stdout).toBe(`${JOB}\n`);
      expect(service.uploads.size).toBe(1);
      expect(service.scan()!.equals(bytes)).toBe(true);
      const sent = service.requests.filter((r) => r.startsWith("PUT")).map((r) => r.split("/").at(-1));
      expect(sent).toEqual(["1", "2", "3", "4", "4", "5", "6"]);

      // Done: from now on the same command is a new upload.
      expect((await tilewright(args)).code).toBe(0);
      expect(service.uploads.size).toBe(2);
    },
  );

  it("a stopped run resumes watching", async () => {
    service.states = [{ state: "mapping", windows: { total: 9, done: 1 } }];
    const args = ["upload", scan, "--server", to, "--watch"];
    const run = start(args);
    await new Promise<void>((resolve) =>
      run.child.stderr.on("data", (t) => `${t}`.includes("1/9") && resolve()),
    );
    run.child.kill("SIGINT");
    expect((await run.ended).code).toBe(130);
    service.states = [{ state: "failed", error: { code: "x", message: "the slide is torn" } }];
    expectRefusal(await tilewright(args), 7, /job 0123\w+ failed: the slide is torn/);
    expect(service.uploads.size).toBe(1);
    expect(service.count("PUT part")).toBe(6);
  });

  it("an upload that the service has lost begins again", async () => {
    service.fault = (kind, nth) => (kind === "PUT part" && nth === 3 ? 404 : undefined);
    const args = ["upload", scan, "--server", to, "--parallel-uploads", "1"];
    expectRefusal(await tilewright(args), 6, /this is a 404; repeat the command to begin again/);
    service.uploads.clear();
    service.fault = () => undefined;
    expect((await tilewright(args)).code).toBe(0);
    expect(service.scan()!.equals(bytes)).toBe(true);
  });

  it("a scan that changes while it is uploaded is not completed", async () => {
    service.fault = (kind, nth) => {
      if (kind === "PUT part" && nth === 2) appendFileSync(scan, "more");
      return undefined;
    };
    const ended = await tilewright(["upload", scan, "--server", to]);
    expectRefusal(ended, 3, /changed while it was uploaded; begin again when it is written/);
    expect(service.uploads.size).toBe(0);
  });

  it("damaged results do not get their final names", async () => {
    service.files.set("measurements.csv", Buffer.from("a,b"));
    service.hashes.set("measurements.csv", "0".repeat(64));
    const out = newOut();
    const args = ["upload", scan, "--server", to, "--out", out];
    expectRefusal(await tilewright(args), 6, /measurements.csv arrived damaged/);
    expect(readdirSync(out)).toEqual([".tilewright"]);
    // The same command continues it; the scan is not sent again.
    service.hashes.clear();
    const again = await tilewright(args);
    expect(again.code, again.stderr).toBe(0);
    expect(service.count("PUT part")).toBe(6);
    expect(readFileSync(join(out, "measurements.csv"), "utf8")).toBe("a,b");
  });

  it.each(["../escaped", "a/../../escaped", "lock", ".hidden", "a\\b", "/absolute", "x.partial"])(
    "a file that is named %s is refused",
    async (name) => {
      service.files.set(name, Buffer.from("x"));
      const out = newOut();
      mkdirSync(out);
      const client = new JobClient(to);
      const download = downloadOutputs(client, await client.status(JOB), { out });
      await expect(download).rejects.toThrow(/is not a valid file name here/);
      expect(readdirSync(out)).toEqual([]);
      expect(existsSync(join(directory, "escaped"))).toBe(false);
    },
  );

  it("results without run.json are incomplete", async () => {
    service.files.delete("run.json");
    const ended = await tilewright(["jobs", "download", JOB, "--server", to, "--out", newOut()]);
    expectRefusal(ended, 6, /has no run.json, so its results are incomplete/);
  });

  it("shows, cancels, deletes and downloads jobs by id", async () => {
    service.states = [{ state: "mapping", windows: { total: 9, done: 4 } }];
    const shown = await tilewright(["jobs", "get", JOB, "--server", to]);
    expect(shown.stdout).toMatch(/state +mapping\nsource +r2:\/\/scans\/x\nmodel +nuclei\nwindows +4\/9\n/);
    const json = await tilewright(["jobs", "get", JOB, "--server", to, "--json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({ id: JOB, state: "mapping" });
    expect((await tilewright(["jobs", "cancel", JOB, "--server", to])).code).toBe(0);
    expect(service.count("DELETE jobs")).toBe(1);
    service.states = [{ state: "done" }];
    const removed = await tilewright(["jobs", "delete", JOB, "--server", to]);
    expect(removed.stdout).toMatch(/and its results are deleted; its scan is still at r2:\/\/scans\/x\n/);
    expect(service.count("DELETE data")).toBe(1);
    expectRefusal(await tilewright(["jobs", "cancel", JOB, "--server", to]), 7, /is already done/);
    service.files.set("objects.geojson", Buffer.from("{}"));
    const out = newOut();
    const got = await tilewright(["jobs", "download", JOB, "--server", to, "--out", out]);
    expect(got.code, got.stderr).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["objects.geojson", "run.json"]);
  });

  it("errors of the service are shown in its words", async () => {
    service.fault = () => 422;
    expectRefusal(
      await tilewright(["upload", scan, "--server", to]),
      6,
      /^tilewright: 127\.0\.0\.1:\d+: this is a 422$/,
    );
    service.fault = () => 401;
    expectRefusal(
      await tilewright(["upload", scan, "--server", to]),
      6,
      /a 401; give it with --token or TILEWRIGHT_TOKEN/,
    );
    service.fault = () => 302;
    expectRefusal(
      await tilewright(["upload", scan, "--server", to]),
      6,
      /redirects to another address: give that one to --server/,
    );
  });

  it("the token comes from the environment too", async () => {
    await tilewright(["jobs", "get", JOB, "--server", to], { TILEWRIGHT_TOKEN: TOKEN });
    expect(service.headers[0]!.authorization).toBe(`Bearer ${TOKEN}`);
  });
});

it("invalid commands are rejected in one sentence, with their exit code", async () => {
  const nobody = new FlakyService();
  const to = await nobody.start();
  nobody.stop();
  expectRefusal(
    await tilewright(["upload", scan, "--server", to]),
    6,
    /cannot reach 127\.0\.0\.1:\d+ \(ECONNREFUSED\); check the address and that the service runs/,
  );
  const plain = ["jobs", "download", JOB, "--server", "http://127.0.0.1.example", "--out", scan];
  const warned = await tilewright([...plain, "--token", TOKEN]);
  expect(warned.stderr).toContain("note: over http:// others on the network can read the token");
  expectRefusal(warned, 5, /is a file: --out must name/);
  expect((await tilewright(plain)).stderr).not.toContain("note:");
  expectRefusal(await tilewright(["upload", `${scan}x`, "--server", to]), 3, /does not exist/);
  expectRefusal(
    await tilewright(["upload", directory, "--server", to]),
    3,
    /without OME-Zarr metadata and without DICOM files/,
  );
  expectRefusal(
    await tilewright(["upload", scan, "--server", "example"]),
    2,
    /--server example is not an address/,
  );
  expectRefusal(
    await tilewright(["upload", scan, "--server", "http://a:b@c"]),
    2,
    /must not contain a password/,
  );
  expectRefusal(await tilewright(["upload", scan, "--server", to, "--outputs", "x"]), 2, /option outputs\.0/);
  expectRefusal(
    await tilewright(["upload", scan, "--server", to, "--out", scan]),
    5,
    /is a file: --out must name/,
  );
});
