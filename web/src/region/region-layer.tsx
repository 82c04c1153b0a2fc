import { useEffect, useRef, useState } from "preact/hooks";
import { screenOrigin, toWorld } from "../data/camera.ts";
import { useModel } from "../viewer/use-model.ts";
import type { ViewerModel } from "../viewer/viewer-model.ts";
import { outlinePath } from "./outline-path.ts";
import { PolygonArea } from "./polygon-area.tsx";
import type { PreviewedWindow } from "./region-messages.ts";
import type { RegionModel } from "./region-model.ts";

/** The region and the previewed window over the picture. While drawing, it takes the pointer. */
export function RegionLayer({ region, model }: { region: RegionModel; model: ViewerModel }) {
  const [, render] = useState({});
  useEffect(() => region.subscribe(() => render({})), [region]);
  useModel(model, "frame");
  const { camera, screen, canvas } = model.scene;
  const ratio = screen.width / Math.max(1, canvas.clientWidth);
  const origin = screenOrigin(camera, screen);
  const x = (world: number) => (origin.x + world * camera.scale) / ratio;
  const y = (world: number) => (origin.y + world * camera.scale) / ratio;
  const box = (left: number, top: number, width: number, height: number) => ({
    x: x(left),
    y: y(top),
    width: x(left + width) - x(left),
    height: y(top + height) - y(top),
  });
  const { preview, drawing } = region;
  const { roi, polygons } = region.region ?? {};
  const frame = (rect: { origin: readonly number[]; size: readonly number[] }) =>
    box(rect.origin[1]!, rect.origin[0]!, rect.size[1]!, rect.size[0]!);
  return (
    <div class={drawing ? "region-layer drawing" : "region-layer"}>
      {preview && (
        <PreviewPicture preview={preview} region={region} model={model} place={frame(preview.rect0)} />
      )}
      <svg aria-hidden="true">
        {preview && <rect class="window" data-box={boxText(preview.rect0)} {...frame(preview.rect0)} />}
        {preview?.inner0 && (
          <rect class="inner" data-box={boxText(preview.inner0)} {...frame(preview.inner0)} />
        )}
        {roi && (
          <rect class={polygons ? "around" : "roi"} {...box(...(roi as [number, number, number, number]))} />
        )}
        {polygons && <path class="outline" fill-rule="evenodd" d={outlinePath(polygons, x, y)} />}
      </svg>
      {drawing === "rectangle" && <RectangleArea region={region} model={model} />}
      {drawing === "polygon" && <PolygonArea region={region} model={model} />}
    </div>
  );
}

/** Left, top, width and height in level-0 pixels. */
function boxText({ origin, size }: { origin: readonly number[]; size: readonly number[] }): string {
  return [origin[1], origin[0], size[1], size[0]].join(" ");
}

/** One pixel of the canvas for each label; the browser magnifies it without blending. */
function PreviewPicture({
  preview,
  region,
  model,
  place,
}: {
  preview: PreviewedWindow;
  region: RegionModel;
  model: ViewerModel;
  place: { x: number; y: number; width: number; height: number };
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [height, width] = preview.labels.shape as [number, number];
  useEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const colors = region.whole!.classes.map(({ color }) =>
      [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)),
    );
    const picture = context.createImageData(width, height);
    preview.labels.data.forEach((label, i) => {
      if (label === 0) return;
      const [red, green, blue] = colors[label]!;
      picture.data.set([red!, green!, blue!, 255], 4 * i);
    });
    context.putImageData(picture, 0, 0);
  }, [preview]);
  return (
    <canvas
      ref={canvas}
      class="preview"
      width={width}
      height={height}
      style={{
        left: `${place.x}px`,
        top: `${place.y}px`,
        width: `${place.width}px`,
        height: `${place.height}px`,
        opacity: model.scene.labelLook.opacity || 0.5,
      }}
    />
  );
}

/** Takes the pointer: a drag is a region, the wheel zooms as on the picture. */
function RectangleArea({ region, model }: { region: RegionModel; model: ViewerModel }) {
  const area = useRef<HTMLDivElement>(null);
  const start = useRef<{ x: number; y: number }>(undefined);
  const device = (event: MouseEvent) => {
    const box = area.current!.getBoundingClientRect();
    const ratio = model.scene.screen.width / Math.max(1, box.width);
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  };
  const world = (event: MouseEvent) => {
    const { x, y } = device(event);
    return toWorld(model.scene.camera, model.scene.screen, x, y);
  };
  useEffect(() => {
    const end = (event: KeyboardEvent) => event.key === "Escape" && region.setDrawing(undefined);
    const zoom = (event: WheelEvent) => {
      event.preventDefault();
      model.zoom(event.deltaY < 0 ? 1.25 : 0.8, device(event));
    };
    addEventListener("keydown", end);
    // Not by an attribute: those listeners are passive, and the page would scroll.
    area.current!.addEventListener("wheel", zoom, { passive: false });
    return () => removeEventListener("keydown", end);
  }, [region, model]);
  return (
    <div
      ref={area}
      class="area"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        start.current = world(event);
      }}
      onPointerMove={(event) => {
        if (!start.current) return;
        const { x, y } = world(event);
        region.setBox({ x0: start.current.x, y0: start.current.y, x1: x, y1: y });
      }}
      onPointerUp={(event) => {
        if (!start.current) return;
        const { x, y } = world(event);
        region.setBox({ x0: start.current.x, y0: start.current.y, x1: x, y1: y });
        start.current = undefined;
        if (!region.problem) region.setDrawing(undefined);
      }}
    />
  );
}
