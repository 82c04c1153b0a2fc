import { existsSync } from "node:fs";

/** Where Debian's chromium-common puts SwiftShader, and Chrome's own packages theirs. */
const PLACES = [
  "/usr/lib/chromium/vk_swiftshader_icd.json",
  "/usr/lib/chromium-browser/vk_swiftshader_icd.json",
  "/opt/google/chrome/vk_swiftshader_icd.json",
];

/** The Vulkan driver that computes on the CPU; `undefined` where there is none. What `VK_DRIVER_FILES` names goes before. */
export function softwareAdapter(): string | undefined {
  const { VK_DRIVER_FILES } = process.env;
  if (VK_DRIVER_FILES) return VK_DRIVER_FILES;
  return PLACES.find((path) => existsSync(path));
}
