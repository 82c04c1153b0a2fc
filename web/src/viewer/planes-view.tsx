import { useEffect, useRef, useState } from "preact/hooks";
import { readVolume } from "../volume/read-volume.ts";
import { affineOfSpacing, chooseVolumeGrid, type VolumeGrid } from "../volume/volume-grid.ts";
import { VolumeScene } from "../volume/volume-scene.ts";
import { useModel } from "./use-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** Directions of the three sliders: where they end, by axis of RAS+. */
const AXES = ["Right", "Front", "Head"] as const;

/** The three planes of a volume, its rendering, and where they meet. It is loaded when a volume is opened in it. */
export function PlanesView({ model }: { model: ViewerModel }) {
  useModel(model);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [scene, setScene] = useState<VolumeScene>();
  const [part, setPart] = useState(0);
  const [failure, setFailure] = useState<string>();
  const [notes, setNotes] = useState<readonly string[]>([]);
  const [place, setPlace] = useState<readonly [number, number, number]>();
  const [isRadiological, setRadiological] = useState(true);
  useEffect(() => {
    const controller = new AbortController();
    let opened: VolumeScene | undefined;
    const open = async () => {
      const { signal } = controller;
      const read = await readScan(model, signal, setPart);
      setNotes(read.notes);
      if (signal.aborted || canvas.current === null) return;
      opened = await VolumeScene.open(canvas.current, {
        ...read.volumes,
        isOriented: read.isOriented,
        onCrosshair: (mm) => {
          setPlace(mm);
          model.setCrosshair(mm);
        },
      });
      if (signal.aborted) return opened.close();
      model.shownCanvas = () => canvas.current!;
      if (model.crosshair) opened.crosshair = model.crosshair;
      setPlace(opened.crosshair);
      setScene(opened);
    };
    open().catch((error: Error) => {
      if (!controller.signal.aborted) setFailure(error.message);
    });
    return () => {
      model.shownCanvas = () => model.scene.canvas;
      controller.abort();
      opened?.close();
    };
  }, [model]);
  const contrast = model.storedContrast;
  useEffect(() => {
    if (contrast) scene?.setContrast(contrast.low, contrast.high);
  }, [scene, contrast?.low, contrast?.high]);
  const look = model.scene.labelLook;
  useEffect(() => scene?.setLabels(look), [scene, look]);
  useEffect(() => scene?.setRadiological(isRadiological), [scene, isRadiological]);
  return (
    <div class="volume">
      <div>
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`Three planes of ${model.scan.name} and a rendering. The sliders below move the planes.`}
        />
      </div>
      {scene === undefined && !failure && (
        <output class="notice">Reading the volume: {Math.floor(part * 100)} %</output>
      )}
      {failure && (
        <p class="notice" role="alert">
          {failure}
        </p>
      )}
      {scene && place && (
        <fieldset class="planes">
          <legend class="hidden">Position of the planes</legend>
          {AXES.map((name, axis) => (
            <label key={name}>
              <span>{name}</span>
              <input
                type="range"
                min={scene.extent.low[axis]}
                max={scene.extent.high[axis]}
                step="any"
                value={place[axis]}
                aria-valuetext={`${place[axis]!.toFixed(1)} mm`}
                onInput={(event) => {
                  const moved = [...place] as [number, number, number];
                  moved[axis] = event.currentTarget.valueAsNumber;
                  scene.crosshair = moved;
                }}
              />
              <output>{place[axis]!.toFixed(1)} mm</output>
            </label>
          ))}
          <label>
            <input
              type="checkbox"
              checked={isRadiological}
              onChange={(event) => setRadiological(event.currentTarget.checked)}
            />
            The patient's left is on the right
          </label>
          {notes.map((note) => (
            <p key={note}>{note}</p>
          ))}
        </fieldset>
      )}
    </div>
  );
}

/** Image and labels of a volume in memory, and what the user must know of them. */
async function readScan(model: ViewerModel, signal: AbortSignal, onProgress: (part: number) => void) {
  const { report, imageClient, labels, labelClient } = model;
  const base = report?.affine ?? affineOfSpacing(report?.spacing ?? labels?.info.spacing);
  const notes: string[] = [];
  const isOriented = (report?.orientation ?? null) !== null;
  if (!isOriented)
    notes.push(
      `${report ? "The file does not state where its axes point" : "Without the scan the directions are unknown"}: left and right may be exchanged.`,
    );
  const grid = report && chooseVolumeGrid(report.levels, base);
  if (report && report.channels.length > 1 && !model.scene.isColor) notes.push("The first channel is shown.");
  if (grid && (grid.level > 0 || grid.step.some((n) => n > 1))) notes.push(thinnedText(grid));
  const shares = labels ? 0.5 : 1;
  const image =
    grid &&
    imageClient &&
    (await readVolume(imageClient, grid, {
      dtype: report.dtype,
      signal,
      onProgress: (part) => onProgress(part * shares),
    }));
  const labelGrid = labels && labelVolumeGrid(labels.info, base);
  const labelFile =
    labelGrid &&
    labelClient &&
    (await readVolume(labelClient, labelGrid, {
      dtype: "uint8",
      isLabel: true,
      signal,
      onProgress: (part) => onProgress(1 - shares + part * shares),
    }));
  return { volumes: { image, labels: labelFile }, isOriented, notes };
}

function labelVolumeGrid(
  { shape, placement }: NonNullable<ViewerModel["labels"]>["info"],
  affine: VolumeGrid["affine"],
): VolumeGrid {
  return chooseVolumeGrid([{ shape, downsample: placement.downsample }], affine, placement.origin);
}

function thinnedText({ level, step }: VolumeGrid): string {
  const [z, y, x] = step;
  const source = level === 0 ? "" : ` of the ${2 ** level}-fold smaller level`;
  return `The volume is too large to be shown whole: every ${x}. × ${y}. × ${z}. sample (x, y, z)${source} is shown. The slices show all of them.`;
}
