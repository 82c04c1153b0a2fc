/** What the process ends with; documented in the README. */
export const EXIT = {
  ok: 0,
  /** A fault of ours: please report it. */
  unexpected: 1,
  /** The command or its settings do not fit the image. */
  usage: 2,
  /** The source cannot be read. */
  source: 3,
  /** The model package is damaged or computes wrongly here. */
  model: 4,
  /** The output directory cannot be written or holds something else. */
  output: 5,
  /** A job service or an edge function cannot be reached, or refuses. */
  service: 6,
  /** The job came to an end there without results; of a cohort: some scans failed. */
  job: 7,
  /** Stopped by the user; `--resume` continues. */
  interrupted: 130,
} as const;
