import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The script of onnxruntime-node uses this proxy: nothing listens there, so it reaches no NuGet. */
const NO_NUGET = "http://127.0.0.1:9";

/** An empty directory with an npm project, and a Node of some version that runs everything in it. */
export class Project {
  readonly directory: string;
  readonly #env: NodeJS.ProcessEnv;

  /** @param node major version; it is installed beside the project, from the npm registry */
  constructor(directory: string, node: string) {
    this.directory = directory;
    const runtime = `${directory}-runtime`;
    for (const made of [directory, runtime]) {
      mkdirSync(made, { recursive: true });
      writeFileSync(join(made, "package.json"), JSON.stringify({ private: true, type: "module" }));
    }
    execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", `node@${node}`], { cwd: runtime });
    const bin = [join(directory, "node_modules/.bin"), join(runtime, "node_modules/node/bin")];
    this.#env = {
      ...process.env,
      PATH: [...bin, process.env.PATH].join(delimiter),
      GLOBAL_AGENT_HTTPS_PROXY: NO_NUGET,
      GLOBAL_AGENT_HTTP_PROXY: NO_NUGET,
      ONNXRUNTIME_NODE_INSTALL: "skip",
      NODE_PATH: "",
    };
  }

  npm(...args: string[]): void {
    execFileSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: this.directory,
      env: this.#env,
      stdio: ["ignore", "ignore", "inherit"],
    });
  }

  /** Runs a command of the project. @returns its output */
  run(command: string, ...args: string[]): string {
    return execFileSync(command, args, {
      cwd: this.directory,
      env: this.#env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 << 20,
    });
  }

  tilewright(...args: string[]): string {
    return this.run("tilewright", ...args);
  }

  /** Runs the command, which must fail. */
  fails(...args: string[]): { status: number | null; stderr: string } {
    const { status, stderr } = spawnSync("tilewright", args, {
      cwd: this.directory,
      env: this.#env,
      encoding: "utf8",
    });
    if (status === 0) throw new Error(`tilewright ${args.join(" ")} did not fail`);
    return { status, stderr };
  }

  /** Starts a command that serves. */
  start(...args: string[]): Server {
    return this.spawn("tilewright", ...args);
  }

  spawn(command: string, ...args: string[]): Server {
    const child = spawn(command, args, { cwd: this.directory, env: this.#env });
    return new Server(child, [command, ...args].join(" "));
  }

  megabytes(): number {
    return Number.parseInt(
      execFileSync("du", ["-sm", join(this.directory, "node_modules")], { encoding: "utf8" }),
      10,
    );
  }
}

const SPEAKS_WITHIN_MS = 120_000;

/** A running command. */
export class Server {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #ended: Promise<unknown>;
  #output = "";

  constructor(child: ChildProcess, name: string) {
    this.#child = child;
    this.#name = name;
    this.#ended = new Promise((resolve) => child.once("close", resolve));
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (bytes: Buffer) => {
        this.#output += bytes;
      });
  }

  /** Waits until the output matches. @returns the first group */
  async says(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + SPEAKS_WITHIN_MS;
    for (;;) {
      const found = pattern.exec(this.#output);
      if (found) return found[1]!;
      if (this.#child.exitCode !== null || performance.now() > deadline)
        throw new Error(`${this.#name} does not say ${pattern}: ${this.#output}`);
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#ended;
  }
}
