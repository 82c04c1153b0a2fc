import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** With `--import`, in threads too: onnxruntime-node is the one of TILEWRIGHT_OTHER_RUNTIME. */
registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== "onnxruntime-node") return next(specifier, context);
    const url = pathToFileURL(join(process.env.TILEWRIGHT_OTHER_RUNTIME!, "dist/index.js")).href;
    return { url, format: "commonjs", shortCircuit: true };
  },
});
