import type { ComponentType } from "preact";
import type { ViewerModel } from "./viewer-model.ts";

/** What a page adds to the viewer of a slide: a section of the panel, and what lies over the picture. */
export interface OpenedTools {
  Panel: ComponentType;
  Layer: ComponentType;
  close(): void;
}

/** Opens tools for a slide that is shown. They are loaded when they are needed. */
export type ViewerTools = (viewer: ViewerModel) => Promise<OpenedTools>;
