import wasmModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { createApp } from "./app.ts";
import { ModelHost } from "./model-host.ts";

/** The edge function: the model of a bucket, behind HTTP. One model an isolate, for as long as the isolate lives. */
export default createApp(new ModelHost(wasmModule));
