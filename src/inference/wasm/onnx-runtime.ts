// The one place that names the package: it holds 139 MB, of which 14 are used. `npm pack` copies those into dist/wasm and
// makes the built file refer to the copy (infra/package/prepack.ts).
export * from "onnxruntime-web/wasm";
