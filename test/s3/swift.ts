import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/** Keys per page of a listing: few, so that tests need few objects for several pages. */
const PAGE_SIZE = 50;
const START_SECONDS = 90;
const STORAGE = ["account", "container", "object"] as const;

export interface Swift {
  endpoint: string;
  accessKeyId: string;
  secretAccessKey: string;
  stop(): Promise<void>;
}

/**
 * OpenStack Swift with its S3 API: one disk, one replica, on free ports of 127.0.0.1. It writes only below `directory`, which
 * must be on a file system with extended attributes. Needs no root.
 */
export async function startSwift(directory: string): Promise<Swift> {
  const ports = await freePorts(STORAGE.length + 2);
  const [proxyPort, memcachedPort] = [ports.pop()!, ports.pop()!];
  mkdirSync(join(directory, "devices", "d1"), { recursive: true });
  const config = writeConfig(directory, ports, proxyPort, memcachedPort);
  await buildRings(directory, ports);

  const servers: Server[] = [];
  try {
    servers.push(
      start(directory, "memcached", ["-l", "127.0.0.1", "-p", `${memcachedPort}`, "-U", "0", "-u", user]),
    );
    for (const [kind, path] of Object.entries(config)) {
      servers.push(start(directory, `swift-${kind}-server`, [path, "-v"]));
    }
    const deadline = Date.now() + START_SECONDS * 1000;
    for (const port of [proxyPort, ...ports]) await healthy(port, servers, deadline);
  } catch (error) {
    await stopAll(servers);
    throw error;
  }
  return {
    endpoint: `http://127.0.0.1:${proxyPort}`,
    accessKeyId: "test:tester",
    secretAccessKey: "testing",
    stop: () => stopAll(servers),
  };
}

const user = userInfo().username;

/** Writes one file per server and returns their paths by kind. */
function writeConfig(
  directory: string,
  ports: readonly number[],
  proxyPort: number,
  memcachedPort: number,
): Record<string, string> {
  const common = (port: number) => `
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
user = ${user}
swift_dir = ${directory}
devices = ${join(directory, "devices")}
mount_check = false
fallocate_reserve = 0
# No forks: each server is the one process that is stopped by its id.
workers = 0
log_level = WARNING
`;
  // Long timeouts for a busy machine: a listing lags behind when the update of a container times out.
  const patience = "conn_timeout = 10\nnode_timeout = 30\ncontainer_update_timeout = 30\n";
  const texts: Record<string, string> = {
    proxy: `${common(proxyPort)}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
${patience}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
max_bucket_listing = ${PAGE_SIZE}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${memcachedPort}
${["catch_errors", "gatekeeper", "healthcheck", "listing_formats", "copy", "slo", "dlo", "versioned_writes"]
  .map((name) => `[filter:${name}]\nuse = egg:swift#${name}\n`)
  .join("")}`,
  };
  for (const [i, kind] of STORAGE.entries()) {
    texts[kind] = `${common(ports[i]!)}
[pipeline:main]
pipeline = healthcheck ${kind}-server
[app:${kind}-server]
use = egg:swift#${kind}
${patience}
[filter:healthcheck]
use = egg:swift#healthcheck
`;
  }
  return Object.fromEntries(
    Object.entries(texts).map(([kind, text]) => {
      const path = join(directory, `${kind}-server.conf`);
      writeFileSync(path, text);
      return [kind, path];
    }),
  );
}

/**
 * A ring assigns parts of the keys to servers: here, all to one. Uses Swift's library, because
 * `swift-ring-builder` needs nine runs.
 */
async function buildRings(directory: string, ports: readonly number[]): Promise<void> {
  const script = `
import sys
from swift.common.ring import RingBuilder
directory, *servers = sys.argv[1:]
for server in servers:
    kind, port = server.split(":")
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1))
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{kind}.ring.gz")
`;
  const servers = STORAGE.map((kind, i) => `${kind}:${ports[i]}`);
  // Debian's Python, which has Debian's Swift; PATH may have another python3.
  await promisify(execFile)("/usr/bin/python3", ["-c", script, directory, ...servers]);
}

interface Server {
  name: string;
  log: string;
  process: ChildProcess;
}

function start(directory: string, name: string, args: string[]): Server {
  const log = join(directory, `${name}.log`);
  const out = openSync(log, "w");
  const child = spawn(name, args, { stdio: ["ignore", out, out] });
  closeSync(out);
  // Without a listener a missing program would be an uncaught error; `healthy` notices that it never ran.
  child.on("error", () => {});
  return { name, log, process: child };
}

async function healthy(port: number, servers: readonly Server[], deadline: number): Promise<void> {
  for (;;) {
    const dead = servers.find(({ process: p }) => p.pid === undefined || hasEnded(p));
    if (dead) throw new Error(`${dead.name} ended while starting:\n${logTail(dead)}`);
    const answer = await fetch(`http://127.0.0.1:${port}/healthcheck`).catch(() => undefined);
    if ((await answer?.text()) === "OK") return;
    if (Date.now() > deadline) {
      throw new Error(
        `Swift is not healthy after ${START_SECONDS} s (port ${port}):\n${servers.map(logTail).join("\n")}`,
      );
    }
    await sleep(200);
  }
}

async function stopAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map(async ({ process: child }) => {
      if (child.pid === undefined || hasEnded(child)) return;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(late);
    }),
  );
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function logTail({ name, log }: Server): string {
  return `--- ${name}\n${readFileSync(log, "utf8").slice(-2000)}`;
}

/** Opens all at once, so that they differ; another program may still take one before Swift does. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(holders.map((holder) => once(holder, "listening")));
  const ports = holders.map((holder) => (holder.address() as { port: number }).port);
  await Promise.all(holders.map((holder) => once(holder.close(), "close")));
  return ports;
}
