/** What the pages of a TIFF stack are, where the file does not say: one more channel each, or one more depth. */
export const PAGES_AS = ["channels", "z"] as const;
export type PagesAs = (typeof PAGES_AS)[number];
