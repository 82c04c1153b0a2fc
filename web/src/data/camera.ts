/**
 * Where the viewer looks. World coordinates are level-0 pixels of the image: the corner of the first pixel is (0, 0), x
 * points right, y points down. Screen coordinates are device pixels of the canvas.
 */
export interface Camera {
  /** World position at the centre of the canvas. */
  x: number;
  y: number;
  /** Device pixels per level-0 pixel. */
  scale: number;
}

/** A box in world or screen coordinates; half-open. */
export interface Bounds {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export interface Size {
  width: number;
  height: number;
}

/** Largest magnification: one level-0 pixel on 64 device pixels. */
export const MAX_SCALE = 64;

/**
 * Screen position of the world's origin. It is a whole number, so that at a whole scale every sample covers whole device
 * pixels.
 */
export function screenOrigin(camera: Camera, screen: Size): { x: number; y: number } {
  return {
    x: Math.round(screen.width / 2 - camera.x * camera.scale),
    y: Math.round(screen.height / 2 - camera.y * camera.scale),
  };
}

export function toWorld(camera: Camera, screen: Size, x: number, y: number): { x: number; y: number } {
  const origin = screenOrigin(camera, screen);
  return { x: (x - origin.x) / camera.scale, y: (y - origin.y) / camera.scale };
}

/** The part of the world that the canvas shows. */
export function visibleBounds(camera: Camera, screen: Size): Bounds {
  const first = toWorld(camera, screen, 0, 0);
  const last = toWorld(camera, screen, screen.width, screen.height);
  return { x0: first.x, y0: first.y, x1: last.x, y1: last.y };
}

/** The camera that shows a whole box with a margin of 4 %. */
export function fitCamera(box: Bounds, screen: Size): Camera {
  const width = Math.max(box.x1 - box.x0, 1);
  const height = Math.max(box.y1 - box.y0, 1);
  const scale = 0.96 * Math.min(screen.width / width, screen.height / height);
  return {
    x: (box.x0 + box.x1) / 2,
    y: (box.y0 + box.y1) / 2,
    scale: Math.min(MAX_SCALE, Math.max(scale, 1e-6)),
  };
}

/** Keeps the centre inside the image and the scale between an eighth of the fitting one and `MAX_SCALE`. */
export function clampCamera(camera: Camera, world: Bounds, screen: Size): Camera {
  const least = fitCamera(world, screen).scale / 8;
  return {
    x: Math.min(world.x1, Math.max(world.x0, camera.x)),
    y: Math.min(world.y1, Math.max(world.y0, camera.y)),
    scale: Math.min(MAX_SCALE, Math.max(least, camera.scale)),
  };
}

/** Zooms by a factor and keeps the world under a screen position in place. */
export function zoomAt(camera: Camera, screen: Size, factor: number, x: number, y: number): Camera {
  const scale = camera.scale * factor;
  const fixed = toWorld(camera, screen, x, y);
  return {
    x: fixed.x + (screen.width / 2 - x) / scale,
    y: fixed.y + (screen.height / 2 - y) / scale,
    scale,
  };
}
