import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Option } from "commander";
import { edgeVariant, loadModel, resolveModelDirectory } from "../../local/resolve-model.ts";
import type { ModelPackage } from "../../model-package/load-package.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { isLoopback } from "../../service/loopback.ts";
import type { AddCommand } from "../options/context.ts";
import { parsePort } from "../options/parsers.ts";
import { type StackState, takeState } from "../stack/stack-state.ts";
import { findWebAssets, openWebAssets } from "../view/web-assets.ts";

/** As in package.json. */
const MINIFLARE = "5.20261117.0-beta";

interface UpFlags {
  dataDir: string;
  host: string;
  port: number;
  model: string;
  variant?: string;
  /** Who segments shards: the edge function, or runners that pull them. */
  worker: "edge" | "pull";
  corsOrigins: string;
}

interface UpOptions extends UpFlags {
  signal: AbortSignal;
}

export const addUpCommand: AddCommand = (program, { signal, setResumeHint }) => {
  program
    .command("up")
    .description("run the whole service on this machine: uploads, queues, edge function, results")
    .option("--port <n>", "port to listen on; 0 takes any free one", parsePort, 8787)
    .option(
      "--host <address>",
      "address to listen on; others than loopback let other machines in",
      "127.0.0.1",
    )
    .option("--data-dir <dir>", "where everything is kept", ".tilewright-up")
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--variant <name>", "variant of the model; default the one for the worker")
    .addOption(
      new Option("--worker <kind>", "who segments: the edge function here, or runners that pull shards")
        .choices(["edge", "pull"])
        .default("edge"),
    )
    .option("--cors-origins <list>", "pages of other hosts that may read results, such as viewers", "")
    .action((flags: UpFlags) => {
      setResumeHint("start again with the same --data-dir to go on");
      return runService({ ...flags, signal });
    });
};

/** Runs the whole service on this machine until the signal says stop. */
async function runService(options: UpOptions): Promise<void> {
  const directory = resolveModelDirectory(options.model);
  const { manifest } = await loadModel(options.model, { variant: options.variant });
  const forEdge = options.worker === "edge" ? edgeVariant(manifest) : undefined;
  const variant = options.variant ?? forEdge ?? manifest.defaultVariant;
  const state = resolve(options.dataDir);
  const log = (line: string) => void process.stderr.write(`${line}\n`);
  const taken = takeState(state, log);
  try {
    await serve({ ...options, dataDir: state }, { directory, manifest, variant }, taken, log);
  } finally {
    taken.release();
  }
}

async function serve(
  options: UpOptions,
  {
    directory,
    manifest,
    variant,
  }: { directory: string; manifest: ModelPackage["manifest"]; variant: string },
  taken: StackState,
  log: (line: string) => void,
): Promise<void> {
  const { dataDir: state } = options;
  const token = readOrCreateToken(state);
  process.stderr.write("starting the Workers\n");
  const { startStack, PULL_PATH } = await import("../stack/local-stack.ts").catch(
    (cause: NodeJS.ErrnoException) => {
      if (cause.code !== "ERR_MODULE_NOT_FOUND") throw cause;
      // An optional peer dependency: it brings 195 MB, most of them the runtime of Workers.
      throw new JobError(`tilewright up needs the runtime of Workers: npm install miniflare@${MINIFLARE}`, {
        cause,
      });
    },
  );
  const pages = await openWebAssets(findWebAssets());
  const stack = await startStack({
    pages: { has: pages.has, handle: (request, response) => void pages.handle(request, response) },
    state: join(state, "cloud"),
    host: options.host,
    port: options.port,
    model: directory,
    variant,
    shards: options.worker,
    jobs: {
      TOKENS: JSON.stringify([{ name: "local", token, scopes: ["admin"] }]),
      CORS_ORIGINS: options.corsOrigins,
    },
    segment: { TOKEN: token },
    log,
    onRuntime: (runtime) => taken.note({ runtime }),
  }).catch((cause: { code?: string }) => {
    if (cause.code === "EADDRINUSE") {
      throw new JobError(
        `port ${options.port} is in use: stop the process that listens there, or choose another --port`,
        {
          cause,
        },
      );
    }
    if (cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND") {
      throw new JobError(`${options.host} is not an address of this machine: choose another --host`, {
        cause,
      });
    }
    throw cause;
  });
  const url = stack.url.origin;
  taken.note({ url });
  const { name, version } = manifest;
  console.log(
    `tilewright is up at ${url} with ${name} ${version} ${variant}; it keeps everything under ${state}`,
  );
  if (!isLoopback(options.host)) {
    log(`other machines reach it at ${options.host}, without TLS: put a proxy with a certificate before it`);
  }
  console.log(`\nopen ${url} in a browser and enter the token, or:\n\n  export TILEWRIGHT_TOKEN=${token}`);
  if (options.worker === "pull") {
    console.log(
      `  npx tilewright runner --model ${options.model} --pull ${url}${PULL_PATH} --service ${url}`,
    );
  }
  console.log(`  npx tilewright upload slide.svs --server ${url} --watch --out results\n`);
  await new Promise<void>((stop) => {
    // The signal may have come while the Workers were still being built.
    if (options.signal.aborted) stop();
    options.signal.addEventListener("abort", () => stop(), { once: true });
  });
  await stack.stop();
}

/** The service's token: created at the first start and kept, so that clients can use it again. */
function readOrCreateToken(state: string): string {
  const file = join(state, "token");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  const token = randomBytes(24).toString("base64url");
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}
