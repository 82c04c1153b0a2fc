import type { Scene } from "../scene/scene.ts";
import type { ObjectModel } from "./object-model.ts";
import type { ViewState } from "./permalink.ts";

/** The part of the viewer's state that a link holds. */
interface Shown {
  scene: Scene;
  slices: number;
  shows: "slice" | "planes";
  crosshair: ViewState["crosshair"];
  objects: ObjectModel | undefined;
  labels: object | undefined;
  other: object | undefined;
}

/** What the page shows now. @param asked what the address said last, which holds for what is not there yet */
export function currentView(model: Shown, asked: ViewState): ViewState {
  const { camera, labelLook, slice } = model.scene;
  const selected = model.objects?.selected;
  const object = selected && model.objects!.layer.marks(selected.group)?.numbers[selected.index];
  const hidesObjects = model.objects ? !model.objects.layer.isVisible : asked.objectsHidden;
  const hidden = labelLook.classes.flatMap(({ visible }, i) => (visible || i === 0 ? [] : [i]));
  return {
    camera,
    ...(model.slices > 1 && { slice }),
    ...(model.shows === "planes" && { crosshair: model.crosshair ?? [0, 0, 0] }),
    ...(object !== undefined && { object }),
    ...(model.other && { swipe: model.scene.swipe }),
    ...(hidesObjects && { objectsHidden: true as const }),
    ...(model.labels && { labels: { opacity: labelLook.opacity, style: labelLook.style, hidden } }),
  };
}
