import type { SegmentReply } from "./segment.worker.ts";

const COLORS = [0x000000, 0x00c000, 0xc0c000];

const worker = new Worker(new URL("./segment.worker.ts", import.meta.url), { type: "module" });
const file = document.querySelector<HTMLInputElement>("#file")!;
const status = document.querySelector<HTMLElement>("#status")!;
const canvas = document.querySelector<HTMLCanvasElement>("#labels")!;

file.addEventListener("change", () => {
  const picture = file.files?.[0];
  if (!picture) return;
  status.textContent = "segmenting …";
  // The address of the model package: the folder that vite.config.ts copies.
  worker.postMessage({ picture, model: new URL("models/nuclei/", location.href).href });
});

worker.addEventListener("message", ({ data: reply }: MessageEvent<SegmentReply>) => {
  if ("progress" in reply) {
    status.textContent = reply.progress;
    return;
  }
  if ("error" in reply) {
    status.textContent = reply.error;
    return;
  }
  const { labels, shape, objects } = reply;
  const [height, width] = shape as [number, number];
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  labels.forEach((label, i) => {
    const color = COLORS[label] ?? 0xffffff;
    picture.data.set([color >> 16, (color >> 8) & 255, color & 255, 255], i * 4);
  });
  canvas.getContext("2d")!.putImageData(picture, 0, 0);
  status.textContent = `${objects} nuclei in ${width}×${height} pixels`;
});
