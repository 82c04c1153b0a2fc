import type { Camera } from "../data/camera.ts";

/** What a link to a view holds beside the scan itself. */
export interface ViewState {
  camera?: Camera;
  slice?: number;
  /** Set if three planes are shown: where they meet, in millimetres, RAS+. */
  crosshair?: readonly [number, number, number];
  labels?: { opacity: number; style: "fill" | "outline"; hidden: readonly number[] };
  object?: number;
  /** Part of the width that shows the first of two runs. */
  swipe?: number;
  /** Set if objects are hidden. */
  objectsHidden?: true;
}

/** As the fragment of an address, without "#". Positions keep a hundredth of a pixel. */
export function encodeView({
  camera,
  slice,
  crosshair,
  labels,
  object,
  objectsHidden,
  swipe,
}: ViewState): string {
  const parts: string[] = [];
  if (camera) {
    const { x, y, scale } = camera;
    parts.push(`x=${round(x, 2)}`, `y=${round(y, 2)}`, `scale=${Number(scale.toPrecision(5))}`);
  }
  if (slice !== undefined) parts.push(`z=${slice}`);
  if (crosshair) parts.push(`planes=${crosshair.map((mm) => round(mm, 1)).join("_")}`);
  if (labels) {
    parts.push(`labels=${round(labels.opacity, 2)}`, `style=${labels.style}`);
    if (labels.hidden.length > 0) parts.push(`hide=${labels.hidden.join(".")}`);
  }
  if (object !== undefined) parts.push(`object=${object}`);
  if (swipe !== undefined) parts.push(`swipe=${round(swipe, 3)}`);
  if (objectsHidden) parts.push("objects=0");
  return parts.join("&");
}

/** Reads a fragment; anything that is not a number in its range is left out. */
export function decodeView(fragment: string): ViewState {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const number = (name: string, from: number, to: number) => {
    const text = fields.get(name);
    const value = text === null || text.trim() === "" ? Number.NaN : Number(text);
    return value >= from && value <= to ? value : undefined;
  };
  const state: ViewState = {};
  const [x, y] = [number("x", -1e9, 1e9), number("y", -1e9, 1e9)];
  const scale = number("scale", 1e-6, 1e6);
  if (x !== undefined && y !== undefined && scale !== undefined) state.camera = { x, y, scale };
  const slice = number("z", 0, 1e6);
  if (slice !== undefined && Number.isInteger(slice)) state.slice = slice;
  const mm = (fields.get("planes") ?? "").split("_").map((text) => (text === "" ? Number.NaN : Number(text)));
  if (mm.length === 3 && mm.every((value) => Math.abs(value) < 1e6))
    state.crosshair = mm as [number, number, number];
  const opacity = number("labels", 0, 1);
  if (opacity !== undefined) {
    state.labels = {
      opacity,
      style: fields.get("style") === "outline" ? "outline" : "fill",
      hidden: [...new Set((fields.get("hide") ?? "").split(".").filter(Boolean).map(Number))].filter(
        (index) => Number.isInteger(index) && index > 0 && index < 256,
      ),
    };
  }
  const object = number("object", 1, 2 ** 32);
  if (object !== undefined && Number.isInteger(object)) state.object = object;
  const swipe = number("swipe", 0, 1);
  if (swipe !== undefined) state.swipe = swipe;
  if (fields.get("objects") === "0") state.objectsHidden = true;
  return state;
}

function round(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}
