/** In the place of what a Worker carries and never calls: the [alias] tables of both wrangler.toml say of what. */
export default undefined;
