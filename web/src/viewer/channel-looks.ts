import type { OpenedImage } from "../data/image-messages.ts";
import type { ChannelLook } from "../scene/image-program.ts";

/** Colours of channels that state none. */
const CHANNEL_COLORS = [
  "#ffffff",
  "#00c8ff",
  "#ff4fd8",
  "#ffd400",
  "#4dff6a",
  "#ff5a3c",
  "#8c7bff",
  "#c0c0c0",
];

/** How the channels of an image are shown at first. */
export function firstChannelLooks(image: OpenedImage): ChannelLook[] {
  const { channels } = image.report;
  const span = image.range.high - image.range.low || 1;
  return channels.map(({ color }, i) => ({
    visible: true,
    color: color ?? (channels.length === 1 ? "#ffffff" : CHANNEL_COLORS[i % CHANNEL_COLORS.length]!),
    low: (image.contrast[i]!.low - image.range.low) / span,
    high: (image.contrast[i]!.high - image.range.low) / span,
  }));
}
