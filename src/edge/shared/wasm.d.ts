/** Wrangler compiles imported .wasm files at deployment; Workers cannot compile them at run time. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
