import { useEffect, useRef, useState } from "preact/hooks";
import { visibleBounds } from "../data/camera.ts";
import { readSmallPicture } from "../data/small-picture.ts";
import { useModel } from "./use-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Longest side in CSS pixels. */
const SIDE = 150;

/** Time after which the picture is read by itself, where no frame has shown the whole image. */
const PATIENCE_MS = 1500;

/** The whole image with a frame around the visible part. A click moves there. */
export function Minimap({ model }: { model: ViewerModel }) {
  useModel(model, "frame");
  const canvas = useRef<HTMLCanvasElement>(null);
  const [isDrawn, setDrawn] = useState(false);
  const { world, camera, screen } = model.scene;
  const width = world.x1 - world.x0;
  const height = world.y1 - world.y0;
  const scale = SIDE / Math.max(width, height, 1);
  const size = {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
  useEffect(() => {
    // The first complete frame shows the whole image: a small copy of it is the map.
    if (isDrawn || model.scene.canvas.dataset.ready !== "true" || canvas.current === null) return;
    const context = canvas.current.getContext("2d")!;
    const { x0, y0, x1, y1 } = visibleBounds(camera, screen);
    if (x0 > world.x0 || y0 > world.y0 || x1 < world.x1 || y1 < world.y1) return;
    const from = { x: (world.x0 - x0) * camera.scale, y: (world.y0 - y0) * camera.scale };
    context.drawImage(
      model.scene.canvas,
      from.x,
      from.y,
      width * camera.scale,
      height * camera.scale,
      0,
      0,
      size.width,
      size.height,
    );
    setDrawn(true);
  });
  // A link into the middle of the image, or a job whose labels are still arriving, has no such frame.
  const { image, imageClient, slices } = model;
  useEffect(() => {
    if (isDrawn || !image || !imageClient || slices > 1) return;
    const controller = new AbortController();
    const timer = setTimeout(() => {
      readSmallPicture(imageClient, image, model.scene.channels, SIDE, controller.signal).then(
        (picture) => {
          if (!picture || controller.signal.aborted || canvas.current === null) return;
          Object.assign(canvas.current, { width: picture.width, height: picture.height });
          canvas.current.getContext("2d")!.putImageData(picture, 0, 0);
          setDrawn(true);
        },
        // The map stays blank; what is wrong with the image is said by its tiles.
        () => {},
      );
    }, PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [isDrawn, image, imageClient, slices]);
  const seen = visibleBounds(camera, screen);
  const clip = (value: number, most: number) => Math.min(most, Math.max(0, value));
  const left = clip((seen.x0 - world.x0) * scale, size.width);
  const top = clip((seen.y0 - world.y0) * scale, size.height);
  const right = clip((seen.x1 - world.x0) * scale, size.width);
  const bottom = clip((seen.y1 - world.y0) * scale, size.height);
  const move = (event: MouseEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const x = world.x0 + (event.clientX - box.left) / scale;
    const y = world.y0 + (event.clientY - box.top) / scale;
    model.moveTo({ ...camera, x, y });
  };
  return (
    <div
      class="minimap"
      aria-hidden="true"
      onClick={move}
      style={{ width: `${size.width}px`, height: `${size.height}px` }}
    >
      <canvas ref={canvas} width={size.width} height={size.height} />
      <div
        class="seen"
        style={{
          left: `${left}px`,
          top: `${top}px`,
          width: `${Math.max(2, right - left)}px`,
          height: `${Math.max(2, bottom - top)}px`,
        }}
      />
    </div>
  );
}
