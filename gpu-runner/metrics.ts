import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BatchResult } from "./batcher.ts";

/** Values of the gauges, read when the metrics are scraped. */
export interface GaugeSources {
  queuedWindows(): number;
  requests(): number;
  batchLimit(): number;
  incomingBytes(): number;
}

export type RunnerMetrics = ReturnType<typeof createMetrics>;

/** Prometheus metrics of one runner, and prom-client's default metrics of the process. */
export function createMetrics(sources: GaugeSources, labels: Record<string, string>) {
  const registry = new Registry();
  registry.setDefaultLabels(labels);
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  gauge("tilewright_queue_windows", "Windows that wait for a run", sources.queuedWindows);
  gauge("tilewright_requests", "Requests whose bodies are whole", sources.requests);
  gauge("tilewright_incoming_bytes", "Bytes of bodies that are not whole yet", sources.incomingBytes);
  gauge("tilewright_batch_limit_windows", "Windows in one run at most, now", sources.batchLimit);
  const windows = new Counter({ name: "tilewright_windows_total", help: "Windows answered", registers });
  const errors = new Counter({
    name: "tilewright_errors_total",
    help: "Requests that were refused or failed",
    labelNames: ["code"] as const,
    registers,
  });
  const bytes = new Counter({
    name: "tilewright_body_bytes_total",
    help: "Bytes of window batches in and of mask batches out",
    labelNames: ["direction"] as const,
    registers,
  });
  const requestSeconds = new Histogram({
    name: "tilewright_request_seconds",
    help: "From the head of a request for segmentation to its answer",
    buckets: [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120],
    registers,
  });
  const modelSeconds = new Histogram({
    name: "tilewright_model_seconds",
    help: "That a session was at work on one run",
    labelNames: ["outcome"] as const,
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  });
  const batchWindows = new Histogram({
    name: "tilewright_batch_windows",
    help: "Windows in one run",
    buckets: [1, 2, 4, 8, 16, 32, 64, 128],
    registers,
  });
  let backlog: Gauge | undefined;
  return {
    registry,
    /** The gauge exists only once the queue has reported its length: 0 would be a guess. */
    setBacklog(messages: number): void {
      backlog ??= new Gauge({
        name: "tilewright_queue_backlog",
        help: "Messages of the queue that shards are pulled from, as it said last",
        registers,
      });
      backlog.set(messages);
    },
    windows,
    errors,
    bytes,
    requestSeconds,
    recordRun({ windows, milliseconds, outcome }: BatchResult): void {
      modelSeconds.observe({ outcome }, milliseconds / 1000);
      batchWindows.observe(windows);
    },
  };
}
