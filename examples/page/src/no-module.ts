// Replaces what only Node has: see vite.config.ts.
export default {};
