import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { createMetrics } from "../../gpu-runner/metrics.ts";
import { loadModel } from "../../src/local/resolve-model.ts";
import { writePointwisePackage } from "../builders/pointwise-package.ts";
import { runRunner } from "../gpu-runner/run-runner.ts";
import { refusal, wranglerHelp } from "./wrangler-help.ts";

/** infra/kubernetes/check.sh checks them with Kubernetes and hadolint. */
const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const FILES = {
  dockerfile: read("gpu-runner/Dockerfile"),
  compose: read("gpu-runner/compose.yaml"),
  runner: read("infra/kubernetes/runner.yaml"),
  autoscaling: read("infra/kubernetes/autoscaling.yaml"),
  guide: read("docs/runner.md"),
};

/** Reads YAML by path; a missing path fails the test. */
type Tree = ReturnType<typeof JSON.parse>;
function documents(text: string): Tree[] {
  return parseAllDocuments(text, { merge: true, strict: true, uniqueKeys: true }).map((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([]);
    return document.toJS();
  });
}
const [compose] = documents(FILES.compose);
const kubernetes = [...documents(FILES.runner), ...documents(FILES.autoscaling)];
const kind = (name: string): Tree => kubernetes.find((document) => document.kind === name);
const deployment = kind("Deployment").spec;
const pod = deployment.template.spec;
const container = pod.containers[0];
const entrypoint: string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(FILES.dockerfile)![1]!);
const commands: string[][] = [
  ["runner", ...entrypoint.slice(entrypoint.indexOf("runner") + 1)],
  ["runner", ...compose.services.runner.command],
  ["runner", ...compose.services.puller.command],
  ["runner", ...container.args],
];

/** Flags of each command, from its help. */
const helps = new Map<string, string>();
beforeAll(async () => {
  for (const command of ["runner", "segment", "up", "upload"]) {
    const args = [join(ROOT, "src/cli/main.ts"), command, "--help"];
    helps.set(command, (await promisify(execFile)(process.execPath, args)).stdout);
  }
});
const knows = (command: string, flag: string) =>
  new RegExp(`^ +${flag}(?![\\w-])`, "m").test(helps.get(command)!);

/** Shell lines in the code blocks of the guide, with continued lines joined and without comments. */
const shell = [...FILES.guide.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, block]) =>
  block!
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.replace(/(^|\s+)#.*$/, "").trim())
    .filter((line) => line !== ""),
);

describe("the container files of the runner", () => {
  it("use existing flags", () => {
    for (const [command, ...args] of commands) {
      const flags = args.filter((arg) => arg.startsWith("--"));
      expect(flags.length).toBeGreaterThan(1);
      for (const flag of flags) expect(knows(command!, flag), flag).toBe(true);
    }
  });

  it("set variables that the runner reads", () => {
    const names = Object.values(FILES).flatMap((text) => text.match(/TILEWRIGHT_[A-Z_]+/g) ?? []);
    const known = [...helps.values()].join("") + read("src/local/backends.ts");
    expect(new Set(names).size).toBeGreaterThan(2);
    for (const name of names) expect(known, name).toContain(name);
  });

  it("wait longer than the shutdown timeout", () => {
    const drain = (args: string[]) => Number(args[args.indexOf("--shutdown-timeout") + 1]);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(drain(container.args) + 10);
    for (const name of ["runner", "puller"]) {
      const { command, stop_grace_period } = compose.services[name];
      expect(Number(/^(\d+)s$/.exec(stop_grace_period)![1])).toBeGreaterThan(drain(command) + 10);
    }
  });

  it("agree on the port and the paths of the image", () => {
    const port = Number(/--port <n>.*?default:\s+(\d+)/s.exec(helps.get("runner")!)![1]);
    expect(entrypoint.slice(entrypoint.indexOf("--port"))[1]).toBe(String(port));
    expect(FILES.dockerfile).toContain(`EXPOSE ${port}\n`);
    expect(FILES.dockerfile).toContain(`http://127.0.0.1:${port}/healthz`);
    expect(compose.services.runner.ports).toEqual([`127.0.0.1:${port}:${port}`]);
    expect(compose.services.proxy.command.at(-1)).toBe(`runner:${port}`);
    expect(container.ports[0].containerPort).toBe(port);
    expect(kind("Service").spec.ports[0].port).toBe(port);
    const { bin, devDependencies } = JSON.parse(read("package.json"));
    // The command checks Node's version and then imports what the image starts.
    expect(entrypoint).toContain(bin.tilewright.replace("tilewright.cjs", "main.js"));
    expect(FILES.dockerfile).toContain(`node:${devDependencies.node}-`);
    expect(existsSync(join(ROOT, compose.services.runner.build.dockerfile))).toBe(true);
  });

  it("build the image from existing files of its context", () => {
    const allowed = read("gpu-runner/Dockerfile.dockerignore").match(/(?<=^!).*/gm)!;
    const copied = [...FILES.dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, s]) =>
      s!.split(" "),
    );
    expect(new Set(copied)).toEqual(new Set(allowed));
    for (const path of copied) expect(existsSync(join(ROOT, path)), path).toBe(true);
  });

  it("have the CUDA version of the guide, and its way to fetch the provider", () => {
    const [, cuda, minor] = /^ARG BASE=nvidia\/cuda:(\d+)\.(\d+)\.\d+-cudnn-runtime-/m.exec(
      FILES.dockerfile,
    )!;
    expect(FILES.guide).toContain(`cuda-libraries-${cuda}-${minor} libcudnn9-cuda-${cuda}\n`);
    // Explicitly, because npm 12 skips install scripts that are not allowed, with a warning only.
    const [, script] = /&& node (node_modules\S+)/.exec(FILES.dockerfile)!;
    expect(existsSync(join(ROOT, script!))).toBe(true);
    const [, what] = /^ARG ONNXRUNTIME_NODE_INSTALL=(.*)$/m.exec(FILES.dockerfile)!;
    expect(shell.find((line) => line.includes("npm ci &&"))).toBe(
      `npm ci && ONNXRUNTIME_NODE_INSTALL=${what} node ${script}`,
    );
    const { requirements } = createRequire(import.meta.url)("onnxruntime-node/script/install-metadata.js");
    expect(requirements["linux/x64"]).toContain(what);
  });

  it("run it as user nobody, with a read-only file system", () => {
    expect(FILES.dockerfile).toMatch(/^USER 10001:10001$/m);
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10001 });
    expect(container.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    for (const name of ["runner", "puller"]) {
      expect(compose.services[name]).toMatchObject({ read_only: true, cap_drop: ["ALL"] });
    }
    // Files contain no token.
    for (const { name, value } of container.env) if (name.includes("TOKEN")) expect(value).toBeUndefined();
  });

  it("select their own labels, and read secrets that the guide creates", () => {
    const { labels } = deployment.template.metadata;
    for (const selector of [
      deployment.selector.matchLabels,
      kind("Service").spec.selector,
      kind("PodDisruptionBudget").spec.selector.matchLabels,
    ]) {
      expect(labels).toMatchObject(selector);
    }
    const made = [...FILES.runner.matchAll(/--from-literal=([\w-]+)=/g)].map(([, key]) => key);
    const keys = container.env.flatMap((e: Tree) => e.valueFrom.secretKeyRef?.key ?? []);
    expect(new Set(keys)).toEqual(new Set(made));
    expect(made).toContain(kind("TriggerAuthentication").spec.secretTargetRef[0].key);
    const settings = container.env.flatMap((e: Tree) => e.valueFrom.configMapKeyRef?.key ?? []);
    expect(settings).toEqual(Object.keys(kind("ConfigMap").data));
    expect(new Set(kubernetes.map((document) => document.metadata.namespace))).toEqual(
      new Set(["tilewright"]),
    );
  });

  it("scale by an existing metric, at an address of the service", async () => {
    const { scaleTargetRef, triggers } = kind("ScaledObject").spec;
    expect(scaleTargetRef.name).toBe(kind("Deployment").metadata.name);
    const { metadata, authenticationRef, type } = triggers[0];
    expect(type).toBe("metrics-api");
    expect(authenticationRef.name).toBe(kind("TriggerAuthentication").metadata.name);
    const { name, namespace } = kind("Service").metadata;
    const url = new URL(metadata.url);
    expect(url.host).toBe(`${name}.${namespace}.svc:${kind("Service").spec.ports[0].port}`);
    expect(url.pathname).toBe("/metrics");
    const metrics = createMetrics(
      { queuedWindows: () => 0, requests: () => 0, batchLimit: () => 1, incomingBytes: () => 0 },
      {},
    );
    metrics.setBacklog(3);
    expect(await metrics.registry.metrics()).toMatch(new RegExp(`^${metadata.valueLocation} 3$`, "m"));
    metrics.registry.clear();
  });

  describe("probes", () => {
    const directory = mkdtempSync(join(tmpdir(), "tilewright-probes-"));
    afterAll(() => rmSync(directory, { recursive: true }));
    it("call routes that need no token", async () => {
      const { runner, url } = await runRunner(
        await loadModel(writePointwisePackage(directory, { window: 32 })),
      );
      for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
        const { path, port } = container[probe].httpGet;
        expect(port).toBe(container.ports[0].name);
        expect((await fetch(new URL(path, url))).status, path).toBe(200);
      }
      await runner.stop();
    });
  });
});

describe("docs/runner.md", () => {
  it("uses existing flags", () => {
    let flags = 0;
    for (const line of shell) {
      const [command, rest] = commandOf(line) ?? [];
      if (command === undefined) continue;
      for (const flag of rest!.match(/--[a-z][\w-]*/g) ?? []) {
        expect(knows(command, flag), `${command} ${flag}`).toBe(true);
        flags++;
      }
    }
    expect(flags).toBeGreaterThan(10);
  });

  it("documents every option of the runner", () => {
    const flags = [...helps.get("runner")!.matchAll(/^ {2}(--[a-z-]+)/gm)];
    expect(flags.length).toBeGreaterThan(10);
    for (const [, flag] of flags) expect(FILES.guide).toContain(`\`${flag}`);
  });

  it("uses existing commands of wrangler", async () => {
    const lines = shell.filter((line) => line.startsWith("npx wrangler "));
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) {
      const words = line.split(/\s+/).slice(2);
      const flag = words.findIndex((word) => word.startsWith("-"));
      const help = await wranglerHelp(words.slice(0, flag === -1 ? undefined : flag));
      expect(help, line).toBeDefined();
      expect(refusal(help!, words.slice(help!.command.length)), line).toBeUndefined();
    }
  }, 300_000);

  it("documents every metric", async () => {
    const metrics = createMetrics(
      { queuedWindows: () => 0, requests: () => 0, batchLimit: () => 1, incomingBytes: () => 0 },
      {},
    );
    metrics.setBacklog(0);
    for (const { name } of await metrics.registry.getMetricsAsJSON()) {
      if (name.startsWith("tilewright_")) expect(FILES.guide).toContain(name);
    }
    metrics.registry.clear();
  });
});

/** Our command in a shell line, and its arguments. */
function commandOf(line: string): [string, string] | undefined {
  const [, command, flags] = /npx tilewright (\w+)(.*)/.exec(line) ?? [];
  if (command !== undefined) return [command, flags!];
  const [, rest] =
    /(?:npm run gpu-runner --|^docker run .* tilewright-runner(?::cpu)?)(?= )(.*)/.exec(line) ?? [];
  return rest === undefined ? undefined : ["runner", rest];
}
