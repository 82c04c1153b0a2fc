/** What wrangler makes of an imported .wasm file: compiled when the Worker is deployed, for nothing may be compiled later. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
