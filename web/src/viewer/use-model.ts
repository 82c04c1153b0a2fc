import { useEffect, useState } from "preact/hooks";
import type { ViewerModel } from "./viewer-model.ts";

/** Renders the component again when the model changes, or with `frame` after each drawn frame. */
export function useModel(model: ViewerModel, kind: "change" | "frame" = "change"): void {
  const [, render] = useState({});
  useEffect(() => model.subscribe(kind, () => render({})), [model, kind]);
}
