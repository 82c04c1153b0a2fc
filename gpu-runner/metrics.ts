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
  gauge("tilewright_queue_windows", "Waiting windows", sources.queuedWindows);
  gauge("tilewright_requests", "Requests in progress", sources.requests);
  gauge("tilewright_incoming_bytes", "Bytes of bodies that are still arriving", sources.incomingBytes);
  gauge("tilewright_batch_limit_windows", "Current maximum of windows in one run", sources.batchLimit);
  const windows = new Counter({ name: "tilewright_windows_total", help: "Segmented windows", registers });
  const errors = new Counter({
    name: "tilewright_errors_total",
    help: "Rejected and failed requests",
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
    help: "Time from the headers of a segmentation request to its response",
    buckets: [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120],
    registers,
  });
  const modelSeconds = new Histogram({
    name: "tilewright_model_seconds",
    help: "Time of a session for one run",
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
        help: "Last reported length of the queue that shards are pulled from",
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
