import { useState } from "preact/hooks";
import { useModel } from "./use-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Buttons for what the keyboard and the mouse do, and for taking the view elsewhere. */
export function Toolbar({ model }: { model: ViewerModel }) {
  useModel(model);
  const [told, setTold] = useState("");
  const tell = (text: string) => {
    setTold(text);
    setTimeout(() => setTold(""), 2500);
  };
  const copyLink = async () => {
    try {
      await navigator.clipboard.writeText(model.link);
      tell("Link copied");
    } catch {
      tell("The browser did not allow copying; the address bar has the link");
    }
  };
  return (
    <div class="tools" role="toolbar" aria-label="Picture">
      <output class="told">{told}</output>
      {model.slices > 1 && (
        <button
          type="button"
          aria-pressed={model.shows === "planes"}
          title="Three planes and a rendering, turned to the patient"
          onClick={() => model.setShows(model.shows === "planes" ? "slice" : "planes")}
        >
          Planes
        </button>
      )}
      <button type="button" title="Zoom in (+)" onClick={() => model.zoom(1.5)}>
        +
      </button>
      <button type="button" title="Zoom out (-)" onClick={() => model.zoom(1 / 1.5)}>
        −
      </button>
      <button type="button" title="Show the whole image (0)" onClick={() => model.fit()}>
        Fit
      </button>
      <button
        type="button"
        title="One image pixel on one screen pixel (1)"
        onClick={() => model.zoomToPixels()}
      >
        1:1
      </button>
      <button type="button" title="Save this view as PNG" onClick={() => void model.savePicture()}>
        PNG
      </button>
      <button type="button" title="Copy a link to this view" onClick={() => void copyLink()}>
        Link
      </button>
      <button type="button" title="Full screen" onClick={() => void toggleFullScreen()}>
        Full screen
      </button>
    </div>
  );
}

async function toggleFullScreen(): Promise<void> {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.documentElement.requestFullscreen().catch(() => {});
}
