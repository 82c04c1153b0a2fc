import { useEffect, useRef, useState } from "preact/hooks";
import type { RegionPolygons } from "../../../src/orchestrator/region-polygons.ts";
import { visibleBounds } from "../data/camera.ts";
import { useModel } from "../viewer/use-model.ts";
import type { ViewerModel } from "../viewer/viewer-model.ts";
import type { OpenedTools } from "../viewer/viewer-tools.ts";
import { toGeoJson } from "./region-box.ts";
import { RegionLayer } from "./region-layer.tsx";
import { OUTLINES_FILE, type Roi } from "./region-messages.ts";
import { RegionModel, type RegionOffer } from "./region-model.ts";

/** The tools for regions of a slide that a viewer shows. */
export function openRegionTools(offer: RegionOffer, viewer: ViewerModel): OpenedTools {
  const region = new RegionModel(offer, viewer);
  return {
    Panel: () => <RegionPanel region={region} model={viewer} />,
    Layer: () => <RegionLayer region={region} model={viewer} />,
    close: () => region.close(),
  };
}

function useRegion(region: RegionModel): void {
  const [, render] = useState({});
  useEffect(() => region.subscribe(() => render({})), [region]);
}

/** Chooses a region of the scan, tells what it costs, previews a window of it, and runs it. */
function RegionPanel({ region, model }: { region: RegionModel; model: ViewerModel }) {
  useRegion(region);
  useModel(model);
  const { region: chosen, busy } = region;
  return (
    <section>
      <details
        class="region"
        open={region.offer.isOpen}
        onToggle={(event) => event.currentTarget.open && void region.open()}
      >
        <summary>
          <h2>Region</h2>
        </summary>
        <div class="row buttons">
          <DrawButton region={region} kind="rectangle" text="Rectangle" />
          <DrawButton region={region} kind="polygon" text="Polygon" />
          <button
            type="button"
            title="The part of the image that is seen"
            onClick={() => region.setBox(visibleBounds(model.scene.camera, model.scene.screen))}
          >
            Take the view
          </button>
          <ImportButton region={region} />
          {chosen?.polygons && (
            <button type="button" onClick={() => saveOutlines(chosen.polygons!)}>
              Save outlines
            </button>
          )}
          {chosen && (
            <button type="button" onClick={() => region.clear()}>
              Clear
            </button>
          )}
        </div>
        <DrawingNote region={region} />
        <RoiFields region={region} />
        <label class="row">
          <input
            type="checkbox"
            checked={region.tissueMask}
            disabled={busy !== undefined}
            onChange={(event) => void region.setTissueMask(event.currentTarget.checked)}
          />
          Leave out background
        </label>
        <RegionCost region={region} />
        {region.problem && (
          <p role="alert" class="problem">
            {region.problem}
          </p>
        )}
        <div class="row buttons">
          <button type="button" disabled={busy !== undefined} onClick={() => void region.showPreview()}>
            Preview a window
          </button>
          {region.offer.run && (
            <button
              type="button"
              disabled={!chosen || !region.count?.windows || busy !== undefined}
              onClick={() => void region.run()}
            >
              {region.offer.runText ?? "Segment the region"}
            </button>
          )}
        </div>
        {chosen && region.offer.command && (
          <p class="note">
            To segment it{chosen.polygons && ", save its outlines beside the scan, then"}:{" "}
            <code>{region.offer.command(chosen, region)}</code>
          </p>
        )}
        <PreviewNote region={region} model={model} />
      </details>
    </section>
  );
}

function DrawButton({
  region,
  kind,
  text,
}: {
  region: RegionModel;
  kind: "rectangle" | "polygon";
  text: string;
}) {
  const isDrawing = region.drawing === kind;
  return (
    <button
      type="button"
      aria-pressed={isDrawing}
      title={`Draw a ${kind} on the picture`}
      onClick={() => region.setDrawing(isDrawing ? undefined : kind)}
    >
      {text}
    </button>
  );
}

/** How to draw, and how far it is. */
function DrawingNote({ region }: { region: RegionModel }) {
  if (region.drawing === "rectangle") return <p class="note">Drag over the picture. Escape ends drawing.</p>;
  if (region.drawing !== "polygon") return null;
  return (
    <>
      <p class="note" id="polygon-keys">
        Click corners. Double click, Enter or a click on the first corner closes the polygon; Backspace takes
        the last corner back, Escape cancels. Keys: arrows move the cross, Space sets a corner.
      </p>
      <output class="note">
        {region.corners.length === 1 ? "1 corner" : `${region.corners.length} corners`}
      </output>
    </>
  );
}

/** Saves polygons as a file that QuPath and the command line read. */
function saveOutlines(polygons: RegionPolygons): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toGeoJson(polygons)], { type: "application/geo+json" }));
  link.download = OUTLINES_FILE;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function ImportButton({ region }: { region: RegionModel }) {
  return (
    <label class="button">
      Import
      <input
        type="file"
        class="hidden"
        accept=".geojson,.json,application/geo+json"
        aria-label="Import a region from a GeoJSON file of QuPath"
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          if (file) void region.importFile(file);
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}

const FIELDS = ["Left", "Top", "Width", "Height"] as const;

/** The region in numbers, for the keyboard. It is set when all four are there. */
function RoiFields({ region }: { region: RegionModel }) {
  const roi = region.region?.roi;
  // In a reference: a field can be left before the page has drawn what was typed in the one before it.
  const typed = useRef<string[]>(["", "", "", ""]);
  const committed = useRef<Roi>(undefined);
  const [, render] = useState({});
  if (roi !== committed.current) {
    committed.current = roi;
    typed.current = roi ? roi.map(String) : ["", "", "", ""];
  }
  const type = (index: number, text: string) => {
    typed.current[index] = text;
    render({});
  };
  const take = (index: number, text: string) => {
    type(index, text);
    if (typed.current.some((value) => value.trim() === "")) return;
    const next = typed.current.map(Number) as unknown as Roi;
    region.setRoi(next);
    // What was typed stays, also where it is refused.
    committed.current = region.region?.roi;
  };
  return (
    <fieldset class="roi">
      <legend class="hidden">Region in pixels of the full resolution</legend>
      {FIELDS.map((name, i) => (
        <label key={name}>
          <span>{name}</span>
          <input
            type="number"
            step={1}
            min={i < 2 ? 0 : 1}
            value={typed.current[i]}
            onInput={(event) => type(i, event.currentTarget.value)}
            onChange={(event) => take(i, event.currentTarget.value)}
          />
        </label>
      ))}
    </fieldset>
  );
}

function RegionCost({ region }: { region: RegionModel }) {
  const { whole, count, region: chosen, busy } = region;
  const text = () => {
    if (busy === "planning") return "Planning the whole scan …";
    if (busy === "starting") return "Starting …";
    if (!whole) return "";
    const all = whole.windows.toLocaleString();
    if (!chosen) return `The whole scan has ${all} windows.`;
    if (!count) return "Counting …";
    if (count.windows === 0) return "The region holds no tissue. Choose another one, or keep the background.";
    const cost = region.offer.costText(count, region.preview);
    const part = `${count.windows.toLocaleString()} of ${all} windows`;
    return cost ? `${part}, ${cost}` : part;
  };
  return (
    <>
      {chosen?.polygons && (
        <p class="note">
          {chosen.polygons.length === 1 ? "1 polygon" : `${chosen.polygons.length} polygons`}: windows that
          touch
          {chosen.polygons.length === 1 ? " it" : " one"} are segmented, and the results cover the rectangle
          around {chosen.polygons.length === 1 ? "it" : "all"}.
        </p>
      )}
      <output class="cost">{text()}</output>
    </>
  );
}

function PreviewNote({ region, model }: { region: RegionModel; model: ViewerModel }) {
  const { preview } = region;
  if (region.busy === "previewing") return <output class="note">Segmenting one window …</output>;
  if (!preview) return null;
  const [y, x] = preview.rect0.origin as [number, number];
  const [height, width] = preview.rect0.size as [number, number];
  return (
    <div>
      <p class="note">
        {preview.isKept
          ? preview.inner0
            ? "Inside the inner frame are the labels that a run gives. Outside it, a run blends them with those of the neighbouring windows."
            : "A run blends these labels with those of the neighbouring windows."
          : "A run leaves this window out: it is background."}{" "}
        {Math.round(preview.milliseconds)} ms.
      </p>
      <div class="row buttons">
        <button
          type="button"
          onClick={() => {
            const { screen } = model.scene;
            const scale = 0.7 * Math.min(screen.width / width, screen.height / height);
            model.moveTo({ x: x + width / 2, y: y + height / 2, scale });
          }}
        >
          Go to the preview
        </button>
        <button type="button" onClick={() => region.clearPreview()}>
          Hide the preview
        </button>
      </div>
    </div>
  );
}
