import type { ViewState } from "./permalink.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Labels as a link says; nothing without it. */
export function applyLabelView(model: ViewerModel, { labels: look }: ViewState): void {
  if (look === undefined || model.labels === undefined) return;
  const { classes } = model.scene.labelLook;
  const shown = classes.map((c, i) => ({ ...c, visible: !look.hidden.includes(i) }));
  model.setLabels({ opacity: look.opacity, style: look.style, classes: shown });
}

/** Shows what a link says, on a page that has opened its image and run. */
export function applyView(model: ViewerModel, view: ViewState): void {
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
export function followView(model: ViewerModel, view: ViewState): void {
  if (!view.crosshair) model.setShows("slice");
  if (!view.camera) model.fit();
  if (!view.objectsHidden) model.objects?.setVisible(true);
  if (view.object === undefined) model.clearSelection();
  if (view.swipe !== undefined) model.setSwipe(view.swipe);
  applyView(model, view);
  model.setShows(model.shows);
}
