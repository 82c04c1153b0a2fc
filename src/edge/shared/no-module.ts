/**
 * Replaces modules that a Worker bundles and never calls; the [alias] tables of the wrangler.toml files list them. The names are
 * those that the importing modules ask for.
 */
export default undefined;
export const inflate = undefined;
export const ZSTDDecoder = undefined;
