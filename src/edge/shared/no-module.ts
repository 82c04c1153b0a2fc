/** Replaces modules that a Worker bundles and never calls; the [alias] tables of both wrangler.toml list them. */
export default undefined;
