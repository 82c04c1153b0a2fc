import type { Config } from "./config.ts";

const DAY_SECONDS = 86_400;

/** Rules for `wrangler r2 bucket lifecycle set`, in the format of R2's API. They replace all rules of a bucket. */
export interface LifecycleRules {
  rules: {
    id: string;
    enabled: true;
    conditions: { prefix: string };
    deleteObjectsTransition?: { condition: { type: "Age"; maxAge: number } };
    abortMultipartUploadsTransition?: { condition: { type: "Age"; maxAge: number } };
  }[];
}

/** Deletes parts of incomplete uploads. Scans stay. */
export function scansLifecycle(config: Config): LifecycleRules {
  return { rules: [unfinishedUploads(config)] };
}

/** Deletes `work/` of jobs that were cut off; others delete their own. `results/` stays. */
export function resultsLifecycle(config: Config): LifecycleRules {
  return {
    rules: [
      {
        id: "tilewright-work",
        enabled: true,
        conditions: { prefix: "work/" },
        deleteObjectsTransition: age(config.keepWorkDays),
      },
      unfinishedUploads(config),
    ],
  };
}

function unfinishedUploads({ keepUnfinishedUploadsDays }: Config): LifecycleRules["rules"][number] {
  return {
    id: "tilewright-unfinished-uploads",
    enabled: true,
    conditions: { prefix: "" },
    abortMultipartUploadsTransition: age(keepUnfinishedUploadsDays),
  };
}

function age(days: number): { condition: { type: "Age"; maxAge: number } } {
  return { condition: { type: "Age", maxAge: days * DAY_SECONDS } };
}

export interface CorsRules {
  rules: {
    id: string;
    allowed: { origins: string[]; methods: string[]; headers: string[] };
    exposeHeaders: string[];
    maxAgeSeconds: number;
  }[];
}

/** A web page puts parts to presigned URLs and must read the etag of each. */
export function scansCors({ browserOrigins }: Config): CorsRules {
  return {
    rules: [
      {
        id: "tilewright-presigned-uploads",
        allowed: { origins: browserOrigins, methods: ["PUT"], headers: ["content-type"] },
        exposeHeaders: ["ETag"],
        maxAgeSeconds: 3600,
      },
    ],
  };
}
