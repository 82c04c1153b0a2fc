import type { ComponentChildren } from "preact";
import type { ImageReport } from "../../../src/image/describe.ts";
import type { ChannelLook } from "../scene/image-program.ts";
import { MAX_SHOWN_CHANNELS } from "../scene/image-program.ts";
import { ObjectPanel } from "./object-panel.tsx";
import { useModel } from "./use-model.ts";
import type { ViewerModel } from "./viewer-model.ts";

/** What is shown and how, and what is known about the image and the run. */
export function LayersPanel({ model, children }: { model: ViewerModel; children?: ComponentChildren }) {
  useModel(model);
  return (
    <aside class="panel" aria-label="Layers">
      {model.slices > 1 && model.shows === "slice" && <SliceSection model={model} />}
      {children}
      {model.other && <SwipeSection model={model} />}
      {model.labels && <LabelSection model={model} />}
      {model.objects && <ObjectPanel model={model} objects={model.objects} />}
      {model.image && !model.scene.isColor && <ChannelSection model={model} />}
      <RunSection model={model} />
      <ImageSection model={model} />
    </aside>
  );
}

function SliceSection({ model }: { model: ViewerModel }) {
  const { slice } = model.scene;
  return (
    <section>
      <h2>Slice</h2>
      <label class="row">
        <span>
          {slice + 1} of {model.slices}
        </span>
        <input
          type="range"
          min={0}
          max={model.slices - 1}
          value={slice}
          aria-label="Slice"
          onInput={(event) => model.setSlice(event.currentTarget.valueAsNumber)}
        />
      </label>
    </section>
  );
}

/** Two runs of one image, on the two sides of a line. */
function SwipeSection({ model }: { model: ViewerModel }) {
  const name = (run: ViewerModel["manifest"]) =>
    run &&
    `${run.model.name} ${run.model.version} ${run.model.variant}, ${new Date(run.finishedAt).toLocaleString()}`;
  return (
    <section>
      <h2>Compare</h2>
      <input
        type="range"
        class="swipe"
        min={0}
        max={1}
        step={0.001}
        value={model.scene.swipe}
        aria-label="Line between the two runs"
        onInput={(event) => model.setSwipe(event.currentTarget.valueAsNumber)}
      />
      <Facts
        rows={[
          ["Left", name(model.manifest) ?? ""],
          ["Right", name(model.other!.manifest) ?? ""],
        ]}
      />
    </section>
  );
}

function LabelSection({ model }: { model: ViewerModel }) {
  const { labelLook } = model.scene;
  const { classes } = model.labels!.info;
  return (
    <section>
      <h2>Labels</h2>
      <label class="row">
        <span>Opacity</span>
        <input
          type="range"
          min={0}
          max={1}
          step={0.01}
          value={labelLook.opacity}
          onInput={(event) => model.setLabels({ opacity: event.currentTarget.valueAsNumber })}
        />
      </label>
      <fieldset class="row">
        <legend class="hidden">Style of labels</legend>
        {(["fill", "outline"] as const).map((style) => (
          <label key={style}>
            <input
              type="radio"
              name="label-style"
              checked={labelLook.style === style}
              onChange={() => model.setLabels({ style })}
            />
            {style === "fill" ? "Filled" : "Outlines"}
          </label>
        ))}
      </fieldset>
      <ul class="classes">
        {classes.map(({ name, color }, i) =>
          i === 0 ? null : (
            <li key={name}>
              <label>
                <input
                  type="checkbox"
                  checked={labelLook.classes[i]?.visible ?? true}
                  onChange={(event) => model.setClassVisible(i, event.currentTarget.checked)}
                />
                <span class="swatch" style={{ background: color }} />
                {name}
              </label>
            </li>
          ),
        )}
      </ul>
    </section>
  );
}

function ChannelSection({ model }: { model: ViewerModel }) {
  const { channels } = model.report!;
  const shown = model.scene.channels.slice(0, MAX_SHOWN_CHANNELS);
  return (
    <section>
      <h2>Channels</h2>
      {shown.map((look, i) => {
        const name = channels[i]!.name ?? `Channel ${i + 1}`;
        return (
          <ChannelRow key={i} name={name} look={look} onChange={(change) => model.setChannel(i, change)} />
        );
      })}
      {channels.length > MAX_SHOWN_CHANNELS && (
        <p class="note">
          The first {MAX_SHOWN_CHANNELS} of {channels.length} channels are shown.
        </p>
      )}
    </section>
  );
}

function ChannelRow({
  name,
  look,
  onChange,
}: {
  name: string;
  look: ChannelLook;
  onChange: (change: Partial<ChannelLook>) => void;
}) {
  const limit = (side: "low" | "high") => (
    <input
      type="range"
      min={0}
      max={1}
      step={0.001}
      value={look[side]}
      aria-label={`${name}: ${side === "low" ? "black" : "full colour"} from this intensity`}
      onInput={(event) => onChange({ [side]: event.currentTarget.valueAsNumber })}
    />
  );
  return (
    <div class="channel">
      <label>
        <input
          type="checkbox"
          checked={look.visible}
          onChange={(event) => onChange({ visible: event.currentTarget.checked })}
        />
        {name}
      </label>
      <input
        type="color"
        value={look.color}
        aria-label={`Colour of ${name}`}
        onInput={(event) => onChange({ color: event.currentTarget.value })}
      />
      {limit("low")}
      {limit("high")}
    </div>
  );
}

function RunSection({ model }: { model: ViewerModel }) {
  const { manifest } = model;
  if (manifest === undefined) return null;
  const { model: network, summary, warnings = [], finishedAt, plan } = manifest;
  const rows: [string, string][] = [
    ["Model", `${network.name} ${network.version} ${network.variant}`],
    ["Finished", new Date(finishedAt).toLocaleString()],
    ["Windows", plan.windows.toLocaleString()],
  ];
  if ("objects" in summary) {
    for (const { name, count, densityPerMm2 } of summary.objects) {
      const density =
        densityPerMm2 === undefined ? "" : `, ${Math.round(densityPerMm2).toLocaleString()} per mm²`;
      rows.push([name, `${count.toLocaleString()}${density}`]);
    }
  }
  return (
    <section>
      <h2>Run</h2>
      {warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
      <Facts rows={rows} />
    </section>
  );
}

function ImageSection({ model }: { model: ViewerModel }) {
  const { report, scan, mpp } = model;
  if (report === undefined)
    return (
      <section>
        <h2>Image</h2>
        <p class="note">{scan.imageMissing ?? "The image is being opened."}</p>
      </section>
    );
  const rows: [string, string][] = [
    ["Format", report.format],
    ["Size", `${report.shape.toReversed().join(" × ")} px`],
    ["Levels", String(report.levels.length)],
    ["Samples", `${report.channels.length} × ${report.dtype}`],
    pixelSize(report, mpp),
  ];
  if (report.axes === "zyx") rows.push(["Directions", directionsText(report.orientation)]);
  if (report.objectivePower !== null) rows.push(["Objective", `${report.objectivePower}×`]);
  return (
    <section>
      <h2>Image</h2>
      {report.warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
      <Facts rows={rows} />
    </section>
  );
}

/** Of volumes all three edges, in the unit of the file. @param mpp micrometres per pixel, y and x; a run may have been told them */
function pixelSize(
  { axes, spacing }: ImageReport,
  mpp: readonly [number, number] | undefined,
): [name: string, value: string] {
  const text = (sizes: readonly number[]) =>
    // From x to z. Square pixels have one size.
    (sizes.length === 2 && sizes[0] === sizes[1] ? [sizes[0]] : sizes.toReversed())
      .map((size) => Number(size!.toPrecision(4)))
      .join(" × ");
  if (axes === "zyx" && spacing)
    return ["Voxel size", `${text(spacing.values)} ${spacing.unit === "millimeter" ? "mm" : "µm"}`];
  return ["Pixel size", mpp ? `${text(mpp)} µm` : "not stated"];
}

/** Slices are shown as they are stored, never turned: where they point must be said. */
function directionsText(orientation: string | null): string {
  if (orientation === null) return "not stated";
  const [x, y, z] = orientation;
  return `right is ${x}, down is ${y}, the next slice is ${z} (${orientation}, as stored)`;
}

function Facts({ rows }: { rows: readonly [string, string][] }) {
  return (
    <dl>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
