import type { Channel } from "./image-source.ts";

/** Channels of a colour image; they mean the same in every format. */
export const RGB_CHANNELS: readonly Channel[] = [
  { name: "red", color: "#ff0000" },
  { name: "green", color: "#00ff00" },
  { name: "blue", color: "#0000ff" },
];
