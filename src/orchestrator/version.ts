/** Of package.json, which Workers cannot read; a test holds the two together. */
export const VERSION = "0.1.0";
