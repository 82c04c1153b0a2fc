import { type Runner, type StartOptions, startRunner } from "../../gpu-runner/start.ts";
import type { ModelPackage } from "../../src/model-package/load-package.ts";
import type { WindowBatch } from "../../src/tiling/wire/window-batch.ts";

export const TOKEN = "nobody-guesses-this-token";

/** Lines of JSON that the runner has logged. */
export class Log {
  lines: string[] = [];
  write(line: string): void {
    this.lines.push(line);
  }
}

/** A runner on loopback and a free port, in this process. */
export async function runRunner(
  model: ModelPackage,
  options: Partial<StartOptions> = {},
): Promise<{ runner: Runner; url: URL; log: Log; metric(name: string): Promise<number> }> {
  const log = new Log();
  const runner = await startRunner({
    model,
    providers: ["cpu"],
    host: "127.0.0.1",
    port: 0,
    sessions: 1,
    token: TOKEN,
    logTo: log,
    ...options,
  });
  const { url } = runner;
  return {
    runner,
    url,
    log,
    async metric(name) {
      const response = await fetch(new URL("/metrics", url), {
        headers: { Authorization: `Bearer ${TOKEN}` },
      });
      const text = await response.text();
      const value = new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[2];
      return Number(value);
    },
  };
}

/** A batch of `count` windows of the pointwise package, each of another grey. */
export function greys(model: ModelPackage, count: number, first = 0): WindowBatch {
  const { size } = model.manifest.window;
  const samples = size[0]! * size[1]! * 3;
  const data = new Uint8Array(count * samples);
  for (let n = 0; n < count; n++) data.fill((first + n * 37) % 256, n * samples, (n + 1) * samples);
  return {
    model: model.hash,
    variant: model.variantName,
    precision: "u8",
    windows: Array.from({ length: count }, (_, n) => n),
    scaling: { low: 0, high: 255 },
    pixels: { data, shape: [count, ...size, 3] },
  };
}
