import type { Camera } from "../data/camera.ts";
import type { LabelLook } from "../scene/label-program.ts";
import type { Scene } from "../scene/scene.ts";
import type { ObjectModel } from "./object-model.ts";
import type { ViewState } from "./permalink.ts";

/** The part of the viewer that a link changes. */
interface Applied {
  readonly scene: Scene;
  readonly slices: number;
  readonly labels: object | undefined;
  readonly objects: ObjectModel | undefined;
  shows: "slice" | "planes";
  crosshair: ViewState["crosshair"];
  setLabels(look: Partial<LabelLook>): void;
  setShows(shows: "slice" | "planes"): void;
  setSlice(slice: number): void;
  setSwipe(part: number): void;
  moveTo(camera: Camera): void;
  fit(): void;
  clearSelection(): void;
}

/** Labels as a link says; nothing without it. */
export function applyLabelView(model: Applied, { labels: look }: ViewState): void {
  if (look === undefined || model.labels === undefined) return;
  const { classes } = model.scene.labelLook;
  const shown = classes.map((c, i) => ({ ...c, visible: !look.hidden.includes(i) }));
  model.setLabels({ opacity: look.opacity, style: look.style, classes: shown });
}

/** Shows what a link says, on a page that has opened its image and run. */
export function applyView(model: Applied, view: ViewState): void {
  const { camera, slice, object, objectsHidden, crosshair } = view;
  if (crosshair && model.slices > 1) {
    model.crosshair = crosshair;
    model.shows = "planes";
  }
  if (slice !== undefined) model.setSlice(slice);
  applyLabelView(model, view);
  if (camera) model.moveTo(camera);
  if (objectsHidden) model.objects?.setVisible(false);
  if (object !== undefined) void model.objects?.selectNumber(object);
}

/** Shows what the address says now, as if the page were opened with it. */
export function followView(model: Applied, view: ViewState): void {
  if (!view.crosshair) model.setShows("slice");
  if (!view.camera) model.fit();
  if (!view.objectsHidden) model.objects?.setVisible(true);
  if (view.object === undefined) model.clearSelection();
  if (view.swipe !== undefined) model.setSwipe(view.swipe);
  applyView(model, view);
  model.setShows(model.shows);
}
