import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { bundleWorker } from "../../src/cli/stack/worker-bundle.ts";

/**
 * Builds the Workers into `dist/workers`, where the published package has them: `tilewright up` runs them, and
 * `tilewright/workers/*` are their modules. `npm pack` runs it.
 */
const ROOT = resolve(import.meta.dirname, "../..");
const OUT = join(ROOT, "dist/workers");

/** Each Worker's folder, configuration, and its entry if that is not the configuration's. */
const WORKERS: [name: string, config: string, entry?: string][] = [
  ["jobs", "wrangler.toml"],
  ["segment", "src/edge/segment/wrangler.toml"],
  ["segment-onnxruntime", "src/edge/segment/wrangler.toml", "src/edge/segment/worker-onnxruntime.ts"],
  ["local-pull-queue", "src/edge/local-pull-queue/wrangler.toml"],
];

/** Code that its package exports is not copied: 14 MB. */
const BY_PACKAGE = new Map([["ort-wasm-simd-threaded.wasm", "onnxruntime-web/ort-wasm-simd-threaded.wasm"]]);

rmSync(OUT, { recursive: true, force: true });
mkdirSync(join(OUT, "wasm"), { recursive: true });
for (const [name, config, entry] of WORKERS) {
  const bundle = await bundleWorker(config, { entry });
  try {
    mkdirSync(join(OUT, name), { recursive: true });
    const script = readdirSync(bundle.directory).find((file) => file.endsWith(".js"))!;
    const text = readFileSync(join(bundle.directory, script), "utf8");
    const written = text.replace(/(from\s*)"\.\/([\da-f]+-)([^"/]+\.wasm)"/g, (_, from, hash, file) => {
      const specifier = BY_PACKAGE.get(file);
      if (specifier) return `${from}"${specifier}"`;
      // The Workers use the same codecs.
      copyFileSync(join(bundle.directory, hash + file), join(OUT, "wasm", file));
      return `${from}"../wasm/${file}"`;
    });
    const left = /from\s*"(\.\/[^"]+\.wasm)"/.exec(written);
    if (left) throw new Error(`${name} imports ${left[1]}, which is not in the package`);
    writeFileSync(join(OUT, name, "worker.js"), written.replace(/^\/\/# sourceMappingURL=.*$/m, ""));
  } finally {
    await bundle.remove();
  }
}
for (const file of readdirSync(join(import.meta.dirname, "workers")))
  copyFileSync(join(import.meta.dirname, "workers", file), join(OUT, file.replace(".d.ts", "/worker.d.ts")));
