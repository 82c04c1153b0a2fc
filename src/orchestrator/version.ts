/** The version in package.json, which Workers cannot read. A test compares them. */
export const VERSION = "0.2.0";
