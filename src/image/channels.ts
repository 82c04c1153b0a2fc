import type { Channel } from "./image-source.ts";

/** The channels of a colour image, whose meaning every format shares. */
export const RGB_CHANNELS: readonly Channel[] = [
  { name: "red", color: "#ff0000" },
  { name: "green", color: "#00ff00" },
  { name: "blue", color: "#0000ff" },
];
