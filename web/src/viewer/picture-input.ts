import { toWorld } from "../data/camera.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Part of the visible size that an arrow key moves. */
const KEY_STEP = 0.1;
const KEY_ZOOM = Math.SQRT2;
/** Movement in CSS pixels up to which a press is a click. */
const CLICK_SLOP = 4;

/** Keys of the picture. `docs/web.md` lists them. */
function keyActions(model: ViewerModel, step: number): Record<string, () => void> {
  return {
    ArrowLeft: () => model.moveBy(-step, 0),
    ArrowRight: () => model.moveBy(step, 0),
    ArrowUp: () => model.moveBy(0, -step),
    ArrowDown: () => model.moveBy(0, step),
    "+": () => model.zoom(KEY_ZOOM),
    "=": () => model.zoom(KEY_ZOOM),
    "-": () => model.zoom(1 / KEY_ZOOM),
    "0": () => model.fit(),
    "1": () => model.zoomToPixels(),
    l: () => model.toggleLabels(),
    o: () => model.setLabels({ style: model.scene.labelLook.style === "fill" ? "outline" : "fill" }),
    PageUp: () => model.setSlice(model.scene.slice + 1),
    PageDown: () => model.setSlice(model.scene.slice - 1),
  };
}

/**
 * Mouse, touch, wheel and keyboard of the picture, and its size. @returns a function that stops listening
 */
export function listenToPicture(canvas: HTMLCanvasElement, model: ViewerModel): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  const pointers = new Map<number, { x: number; y: number }>();
  let moved = 0;
  const devicePixels = ({ clientX, clientY }: { clientX: number; clientY: number }) => {
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / Math.max(1, box.width);
    return { x: (clientX - box.left) * ratio, y: (clientY - box.top) * ratio };
  };
  const at = (event: MouseEvent) => {
    const { x, y } = devicePixels(event);
    return toWorld(model.scene.camera, model.scene.screen, x, y);
  };

  canvas.addEventListener(
    "pointerdown",
    (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, devicePixels(event));
      moved = 0;
      model.setHeld(true);
    },
    { signal },
  );
  canvas.addEventListener(
    "pointermove",
    (event) => {
      const before = pointers.get(event.pointerId);
      if (before === undefined) return model.setPointer(at(event));
      const now = devicePixels(event);
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      pointers.set(event.pointerId, now);
      if (other) {
        const distance = (a: { x: number; y: number }) => Math.hypot(a.x - other.x, a.y - other.y);
        const factor = distance(now) / Math.max(1, distance(before));
        model.zoom(factor, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
        return;
      }
      const { camera } = model.scene;
      model.moveTo({
        ...camera,
        x: camera.x - (now.x - before.x) / camera.scale,
        y: camera.y - (now.y - before.y) / camera.scale,
      });
    },
    { signal },
  );
  const release = (event: PointerEvent) => {
    const wasClick = pointers.size === 1 && moved <= CLICK_SLOP * (canvas.width / canvas.clientWidth);
    if (!pointers.delete(event.pointerId)) return;
    if (pointers.size === 0) model.setHeld(false);
    if (event.type === "pointerup" && wasClick) model.selectAt(at(event));
  };
  canvas.addEventListener("pointerup", release, { signal });
  canvas.addEventListener("pointercancel", release, { signal });
  canvas.addEventListener("pointerleave", () => model.setPointer(undefined), { signal });
  canvas.addEventListener("dblclick", (event) => model.zoom(2, devicePixels(event)), { signal });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // Lines and pages of old mice, in pixels.
      const pixels = event.deltaY * [1, 33, 400][event.deltaMode]!;
      model.zoom(2 ** (-Math.min(240, Math.max(-240, pixels)) / 240), devicePixels(event));
    },
    { signal, passive: false },
  );
  canvas.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const action = keyActions(model, event.shiftKey ? KEY_STEP * 5 : KEY_STEP)[event.key];
      if (action === undefined) return;
      event.preventDefault();
      action();
    },
    { signal },
  );
  const stopResizing = followSize(canvas, model);
  return () => {
    controller.abort();
    stopResizing();
  };
}

/** Keeps the drawing at one sample for each device pixel. */
function followSize(canvas: HTMLCanvasElement, model: ViewerModel): () => void {
  let isFirst = true;
  const apply = (width: number, height: number) => {
    model.scene.resize({ width, height });
    if (isFirst) model.scene.fit();
    isFirst = false;
  };
  const observer = new ResizeObserver(([entry]) => {
    const exact = entry!.devicePixelContentBoxSize?.[0];
    const { inlineSize, blockSize } = exact ?? entry!.contentBoxSize[0]!;
    const ratio = exact ? 1 : devicePixelRatio;
    apply(Math.round(inlineSize * ratio), Math.round(blockSize * ratio));
  });
  try {
    observer.observe(canvas, { box: "device-pixel-content-box" });
  } catch {
    // Safari knows CSS pixels only.
    observer.observe(canvas);
  }
  return () => observer.disconnect();
}
