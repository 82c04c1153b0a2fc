// Replaces what a Worker never loads: see wrangler.toml.
export {};
