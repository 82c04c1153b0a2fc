import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { screenOrigin, toWorld } from "../data/camera.ts";
import type { ViewerModel } from "../viewer/viewer-model.ts";
import { crossedPath } from "./outline-path.ts";
import type { RegionModel } from "./region-model.ts";

/** Movement in CSS pixels up to which a press is a click. */
const CLICK_SLOP = 4;
/** CSS pixels that an arrow key moves the cross. */
const KEY_STEP = 10;
const KEY_ZOOM = Math.SQRT2;

interface Point {
  x: number;
  y: number;
}

/**
 * Takes pointer and keyboard while a polygon is drawn. A click sets a corner, a drag moves the picture, the wheel zooms; arrow keys
 * move a cross, and Space sets a corner there.
 */
export function PolygonArea({ region, model }: { region: RegionModel; model: ViewerModel }) {
  const area = useRef<HTMLDivElement>(null);
  const press = useRef<{ at: Point; moved: number }>(undefined);
  /** Where the next corner would lie, in CSS pixels of the area. */
  const [cross, setCross] = useState<Point>();
  const css = (event: MouseEvent): Point => {
    const box = area.current!.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const ratio = () => model.scene.screen.width / Math.max(1, area.current!.clientWidth);
  const world = ({ x, y }: Point) =>
    toWorld(model.scene.camera, model.scene.screen, x * ratio(), y * ratio());
  const zoom = (factor: number, at: Point) => model.zoom(factor, { x: at.x * ratio(), y: at.y * ratio() });

  // Before the next key: it may follow the one that began the drawing at once.
  useLayoutEffect(() => {
    const element = area.current!;
    element.focus({ preventScroll: true });
    setCross({ x: element.clientWidth / 2, y: element.clientHeight / 2 });
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, css(event));
    };
    // Not by an attribute: those listeners are passive, and the page would scroll.
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  }, [region, model]);

  const move = (x: number, y: number) =>
    setCross((before) => {
      const { clientWidth, clientHeight } = area.current!;
      return {
        x: Math.min(clientWidth, Math.max(0, (before?.x ?? clientWidth / 2) + x)),
        y: Math.min(clientHeight, Math.max(0, (before?.y ?? clientHeight / 2) + y)),
      };
    });
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? KEY_STEP * 5 : KEY_STEP;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => move(-step, 0),
      ArrowRight: () => move(step, 0),
      ArrowUp: () => move(0, -step),
      ArrowDown: () => move(0, step),
      " ": () => cross && region.addCorner(world(cross)),
      Enter: () => region.closePolygon(),
      Backspace: () => region.takeCornerBack(),
      Escape: () => region.setDrawing(undefined),
      "+": () => cross && zoom(KEY_ZOOM, cross),
      "=": () => cross && zoom(KEY_ZOOM, cross),
      "-": () => cross && zoom(1 / KEY_ZOOM, cross),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  };

  return (
    <div
      ref={area}
      class="area"
      role="application"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: an application takes the keys itself.
      tabIndex={0}
      aria-label="Draw a polygon"
      aria-describedby="polygon-keys"
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        press.current = { at: css(event), moved: 0 };
      }}
      onPointerMove={(event) => {
        const now = css(event);
        const { current } = press;
        setCross(now);
        if (!current) return;
        const [x, y] = [now.x - current.at.x, now.y - current.at.y];
        if (current.moved === 0 && Math.hypot(x, y) <= CLICK_SLOP) return;
        const { camera } = model.scene;
        const scale = camera.scale / ratio();
        model.moveTo({ ...camera, x: camera.x - x / scale, y: camera.y - y / scale });
        press.current = { at: now, moved: 1 };
      }}
      onPointerUp={(event) => {
        const wasClick = press.current?.moved === 0;
        press.current = undefined;
        if (wasClick) region.addCorner(world(css(event)));
      }}
      onPointerCancel={() => {
        press.current = undefined;
      }}
      onDblClick={() => region.corners.length > 0 && region.closePolygon()}
    >
      <DrawnCorners region={region} model={model} cross={cross} />
    </div>
  );
}

/** The corners so far, and the edge that the next one would add. */
function DrawnCorners({
  region,
  model,
  cross,
}: {
  region: RegionModel;
  model: ViewerModel;
  cross: Point | undefined;
}) {
  const { camera, screen, canvas } = model.scene;
  const ratio = screen.width / Math.max(1, canvas.clientWidth);
  const origin = screenOrigin(camera, screen);
  const corners = region.corners.map(([x, y]) => ({
    x: (origin.x + x * camera.scale) / ratio,
    y: (origin.y + y * camera.scale) / ratio,
  }));
  const line = cross && corners.length > 0 ? [...corners, cross] : corners;
  return (
    <svg aria-hidden="true">
      <polyline class="drawn" points={line.map(({ x, y }) => `${x},${y}`).join(" ")} />
      {corners.map(({ x, y }, i) => (
        <circle key={i} class={i === 0 ? "corner first" : "corner"} cx={x} cy={y} r={i === 0 ? 6 : 4} />
      ))}
      {cross && <path class="cross" d={crossedPath(cross)} />}
    </svg>
  );
}
