import type { ComponentChildren, ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ViewedScan } from "../data/session.ts";
import { LayersPanel } from "./layers-panel.tsx";
import { Minimap } from "./minimap.tsx";
import { listenToPicture } from "./picture-input.ts";
import { StatusBar } from "./status-bar.tsx";
import { Toolbar } from "./toolbar.tsx";
import { useModel } from "./use-model.ts";
import { ViewerModel } from "./viewer-model.ts";
import type { OpenedTools, ViewerTools } from "./viewer-tools.ts";

interface ViewerPageProps {
  scan: ViewedScan;
  /** Further tools for a slide. */
  tools?: ViewerTools;
  children?: ComponentChildren;
}

/** One scan: the picture, its layers, and what is known about it. */
export function ViewerPage({ scan, tools: open, children }: ViewerPageProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [model, setModel] = useState<ViewerModel>();
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    let opened: ViewerModel;
    try {
      opened = new ViewerModel(scan, canvas.current!);
    } catch (error) {
      return setFailure((error as Error).message);
    }
    const stop = listenToPicture(canvas.current!, opened);
    setModel(opened);
    void opened.open();
    return () => {
      stop();
      opened.close();
    };
    // A run that follows is added to the picture: see below.
  }, [scan.image, scan.name]);
  useEffect(() => {
    if (model && model.scan !== scan) void model.update(scan);
  }, [model, scan]);
  const tools = useTools(open, model);
  useEffect(() => {
    document.title = `${scan.name} – Tilewright`;
  }, [scan.name]);
  return (
    <div class="viewer">
      <header class="bar">
        <h1 title={scan.name}>{scan.name}</h1>
        {children}
        {model && <Toolbar model={model} />}
      </header>
      <main class="stage">
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`Picture of ${scan.name}. Arrow keys move it, plus and minus zoom, 0 shows all of it.`}
          aria-describedby="position"
        />
        {tools && <tools.Layer />}
        {model && <SlideOrPlanes model={model} />}
        {failure && (
          <p class="notice" role="alert">
            {failure}
          </p>
        )}
        {model && <Notices model={model} />}
      </main>
      {model && <LayersPanel model={model}>{tools && <tools.Panel />}</LayersPanel>}
    </div>
  );
}

/** The tools of the page, once a slide is shown. */
function useTools(open: ViewerTools | undefined, viewer: ViewerModel | undefined): OpenedTools | undefined {
  const [tools, setTools] = useState<OpenedTools>();
  const [isSlide, setSlide] = useState(false);
  useEffect(() => viewer?.subscribe("change", () => setSlide(viewer.report?.axes === "yx")), [viewer]);
  useEffect(() => {
    if (!open || !viewer || !isSlide) return;
    let opened: OpenedTools | undefined;
    let isClosed = false;
    open(viewer).then(
      (found) => {
        opened = found;
        if (isClosed) found.close();
        else setTools(found);
      },
      () => viewer.addError("a part of the page cannot be loaded; reload it"),
    );
    return () => {
      isClosed = true;
      opened?.close();
      setTools(undefined);
    };
  }, [open, viewer, isSlide]);
  return tools;
}

/** What lies over the picture, or the planes of a volume in its place. */
function SlideOrPlanes({ model }: { model: ViewerModel }) {
  useModel(model);
  const [Planes, setPlanes] = useState<{ view: ComponentType<{ model: ViewerModel }> }>();
  const isPlanes = model.shows === "planes";
  useEffect(() => {
    if (!isPlanes || Planes) return;
    // The volume viewer is large: it is loaded when somebody opens it.
    import("./planes-view.tsx").then(
      ({ PlanesView }) => setPlanes({ view: PlanesView }),
      () => model.addError("the volume viewer cannot be loaded; reload the page"),
    );
  }, [isPlanes, Planes, model]);
  if (isPlanes && Planes) return <Planes.view model={model} />;
  return (
    <>
      <Minimap model={model} />
      <StatusBar model={model} />
    </>
  );
}

/** What failed, and what the picture lacks. */
function Notices({ model }: { model: ViewerModel }) {
  useModel(model, "frame");
  const notes = [
    ...model.errors,
    ...(model.scene.isIncomplete
      ? ["This image has no smaller levels: only the middle is shown. Zoom in to see the rest."]
      : []),
  ];
  if (model.isLoading) return <output class="notice">Opening {model.scan.name} …</output>;
  if (notes.length === 0) return null;
  return (
    <div class="notice" role="alert">
      {notes.map((note) => (
        <p key={note}>{note}</p>
      ))}
      {model.errors.length > 0 && (
        <button type="button" onClick={() => model.clearErrors()}>
          Close
        </button>
      )}
    </div>
  );
}
