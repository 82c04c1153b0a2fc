import { chooseScaleBar, lengthText } from "./scale-bar.ts";
import { useModel } from "./use-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Longest scale bar in CSS pixels. */
const BAR_LENGTH = 160;

/** Scale bar, position, pixel size and magnification. */
export function StatusBar({ model }: { model: ViewerModel }) {
  useModel(model, "frame");
  const { camera } = model.scene;
  const { mpp, pointer } = model;
  const bar = chooseScaleBar(camera.scale, mpp?.[1], BAR_LENGTH * devicePixelRatio);
  const place = pointer ?? camera;
  const hovered = model.objects?.hoveredText;
  const micrometres = mpp && `${lengthText(place.x * mpp[1])}, ${lengthText(place.y * mpp[0])}`;
  return (
    <div class="status">
      <div class="scale" style={{ width: `${bar.pixels / devicePixelRatio}px` }}>
        {bar.text}
      </div>
      <output id="position" class="position">
        {hovered && <strong>{hovered}</strong>}
        <span title="Position in pixels of the full resolution">
          x {Math.floor(place.x)}, y {Math.floor(place.y)}
        </span>
        {micrometres && <span>{micrometres}</span>}
        {mpp && <span title="Pixel size">{Number(mpp[1].toPrecision(4))} µm/px</span>}
        <span title="Screen pixels per image pixel">{zoomText(camera.scale)}</span>
      </output>
    </div>
  );
}

function zoomText(scale: number): string {
  const percent = scale * 100;
  return `${percent >= 10 ? Math.round(percent) : Number(percent.toPrecision(2))} %`;
}
