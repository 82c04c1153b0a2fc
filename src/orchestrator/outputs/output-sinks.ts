import type { ByteSink } from "../../image/byte-sink.ts";
import type { LabelMapInfo, LabelSink, WrittenOutput } from "../../image/label-sink.ts";
import type { LabelOrigin, LabelOutputName, OutputName, OutputTargets } from "../../image/output-targets.ts";
import { TextOutput } from "./text-output.ts";

interface Sink {
  finalize(): Promise<WrittenOutput>;
  abort(): Promise<void>;
}

/** Opens the requested outputs of a run when they are needed, and finalizes or aborts them together. */
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

  /** @returns undefined if the output is not requested @param present see `Segmentation`; for `labels.seg.dcm` */
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

  text(name: OutputName): Promise<TextOutput | undefined> {
    return this.file(name, (sink) => new TextOutput(sink));
  }

  /** @param write makes the writer of the file's content */
  async file<T extends Sink>(name: OutputName, write: (sink: ByteSink) => T): Promise<T | undefined> {
    if (!this.#wanted.includes(name)) return undefined;
    const output = write(await this.#targets.file(name));
    this.#open.set(name, output);
    return output;
  }

  /** Gives all outputs their final names. */
  async finalize(): Promise<Map<OutputName, WrittenOutput>> {
    const written = new Map<OutputName, WrittenOutput>();
    for (const [name, sink] of this.#open) written.set(name, await sink.finalize());
    return written;
  }

  async abort(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((sink) => sink.abort()));
  }
}
