import type { Camera } from "../data/camera.ts";

/** Saves the drawn picture as a PNG file. @returns what kept it from that, a sentence */
export async function savePicture(
  canvas: HTMLCanvasElement,
  camera: Camera,
  name: string,
): Promise<string | undefined> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve));
  if (blob === null) return "the picture is too large to save; make the window smaller";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}-${Math.round(camera.x)}-${Math.round(camera.y)}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return undefined;
}
