import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** For `--import`, also in threads: resolves onnxruntime-node to the copy in TILEWRIGHT_STUB_RUNTIME. */
registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== "onnxruntime-node") return next(specifier, context);
    const url = pathToFileURL(join(process.env.TILEWRIGHT_STUB_RUNTIME!, "dist/index.js")).href;
    return { url, format: "commonjs", shortCircuit: true };
  },
});
