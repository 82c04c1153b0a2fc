/** Installs Swift where it is missing (Debian or Ubuntu, as root), starts it, runs the tests of this folder, stops it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Swift, startSwift } from "./swift.ts";

const PACKAGES = ["swift-proxy", "swift-account", "swift-container", "swift-object", "memcached"];
const PROGRAMS = [
  "swift-ring-builder",
  "swift-proxy-server",
  "swift-account-server",
  "swift-container-server",
  "swift-object-server",
  "memcached",
];
/** apt calls it before a package starts its services; 101 forbids that. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

const missing = PROGRAMS.filter((program) => !isInstalled(program));
if (missing.length > 0) install();

const directory = mkdtempSync(join(tmpdir(), "tilewright-swift-"));
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => interrupted.abort());
}
try {
  const swift = await startSwift(directory);
  try {
    process.exitCode = interrupted.signal.aborted ? 130 : await runTests(swift);
  } finally {
    await swift.stop();
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function runTests(server: Swift): Promise<number> {
  // The user's AWS settings must not affect the tests.
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("AWS_"));
  // Vitest directly, because npx would leave it running when stopped.
  const args = ["node_modules/vitest/vitest.mjs", "run", "--config", "test/s3/vitest.config.ts"];
  const tests = spawn(process.execPath, [...args, ...process.argv.slice(2)], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: "inherit",
    env: {
      ...Object.fromEntries(own),
      TILEWRIGHT_S3_ENDPOINT: server.endpoint,
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
    },
  });
  const stop = () => tests.kill("SIGTERM");
  interrupted.signal.addEventListener("abort", stop);
  const [code] = await once(tests, "exit");
  return code ?? 130;
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function install(): void {
  if (process.getuid?.() !== 0) {
    console.error(
      `${missing.join(", ")} not found; install with: sudo apt-get install ${PACKAGES.join(" ")}`,
    );
    process.exit(1);
  }
  const apt = (...args: string[]) =>
    execFileSync("apt-get", ["-qq", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  let policyIsOurs = true;
  try {
    writeFileSync(SERVICE_POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" });
  } catch {
    policyIsOurs = false;
  }
  try {
    apt("update");
    apt("install", "--yes", "--no-install-recommends", ...PACKAGES);
  } finally {
    if (policyIsOurs) rmSync(SERVICE_POLICY);
  }
}
