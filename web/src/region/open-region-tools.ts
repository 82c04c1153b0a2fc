import type { ViewerTools } from "../viewer/viewer-tools.ts";
import type { RegionOffer } from "./region-model.ts";

/** Tools for regions of the scan that a viewer shows. */
export function regionTools(offer: RegionOffer): ViewerTools {
  return async (viewer) => {
    const { openRegionTools } = await import("./region-tools.tsx");
    return openRegionTools(offer, viewer);
  };
}
