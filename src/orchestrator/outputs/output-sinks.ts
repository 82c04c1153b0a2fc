import type { LabelMapInfo, LabelSink, WrittenOutput } from "../../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName, OutputName, OutputTargets } from "../../image/output-targets.ts";
import { TextOutput } from "./text-output.ts";

interface Sink {
  finalize(): Promise<WrittenOutput>;
  abort(): Promise<void>;
}

/** The outputs of a run that are open: those that were asked for, opened when their turn comes and ended together. */
export class OutputSinks {
  readonly #targets: OutputTargets;
  readonly #wanted: readonly OutputName[];
  readonly #origin: LabelOrigin;
  readonly #open = new Map<OutputName, Sink>();

  constructor(targets: OutputTargets, wanted: readonly OutputName[], origin: LabelOrigin) {
    this.#targets = targets;
    this.#wanted = wanted;
    this.#origin = origin;
  }

  /** Undefined when it is not asked for. `present`: of `Segmentation`, for `labels.seg.dcm`. */
  async labels(
    name: LabelOutputName,
    info: LabelMapInfo,
    present: readonly (readonly number[])[] = [],
  ): Promise<LabelSink | undefined> {
    if (!this.#wanted.includes(name)) return undefined;
    const { source, segmentation } = this.#origin;
    const sink = await this.#targets.labels(name, info, {
      source,
      segmentation: segmentation && { ...segmentation, present },
    });
    this.#open.set(name, sink);
    return sink;
  }

  async text(name: OutputName): Promise<TextOutput | undefined> {
    if (!this.#wanted.includes(name)) return undefined;
    const output = new TextOutput(await this.#targets.file(name));
    this.#open.set(name, output);
    return output;
  }

  /** Gives all their final names. */
  async finalize(): Promise<Map<OutputName, WrittenOutput>> {
    const written = new Map<OutputName, WrittenOutput>();
    for (const [name, sink] of this.#open) written.set(name, await sink.finalize());
    return written;
  }

  async abort(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((sink) => sink.abort()));
  }
}
