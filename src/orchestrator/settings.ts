import * as z from "zod";
import { isOrientation } from "../tiling/grid/orientation.ts";
import { JobError } from "./errors.ts";
import { OVERLAY_STYLES } from "./outputs/overlay.ts";
import { regionPolygonsSchema } from "./region-polygons.ts";

const wholes = z.int().nonnegative();

export const settingsSchema = z
  .object({
    /** Level to segment; default the coarsest that is not coarser than the model's spacing. */
    level: wholes.optional(),
    /** Maximum pixel size relative to the model's; default: the package's value, or 2.5. */
    maxMagnification: z.number().min(1).max(1000).optional(),
    /** x, y, width, height in level-0 samples. */
    roi: z.tuple([wholes, wholes, z.int().positive(), z.int().positive()]).readonly().optional(),
    /**
     * Instead of `roi`: polygons in level-0 samples, as in a MultiPolygon of GeoJSON. Windows that touch one are segmented, and the
     * results cover the box around them.
     */
    polygons: regionPolygonsSchema.optional(),
    overlapRatio: z.number().min(0).lt(1).optional(),
    policy: z.enum(["monai", "nnunet"]).optional(),
    importance: z.enum(["gaussian", "constant"]).optional(),
    precision: z.enum(["u8", "f16", "f32"]).default("u8"),
    /** How pictures show objects; default outline. */
    overlay: z.enum(OVERLAY_STYLES).optional(),
    /** Leave out windows without tissue. */
    tissueMask: z.boolean().default(true),
    /** Directions of x, y and z of a volume, for instance "LPS"; overrides the file. */
    orientation: z
      .string()
      .refine(isOrientation, "must be three letters, one of L R, one of P A, one of I S, for instance LPS")
      .optional(),
    /** Source channels for the model, in the model's order. */
    channels: z.array(wholes).min(1).readonly().optional(),
  })
  .refine(({ roi, polygons }) => !roi || !polygons, {
    path: ["polygons"],
    message: "a region is a rectangle (roi) or polygons, not both",
  });

/** Settings of a job. Missing ones come from the package or are defaults. */
export type JobSettings = z.input<typeof settingsSchema>;
/** Validated settings with defaults filled in: part of the job's identity. */
export type FullJobSettings = z.output<typeof settingsSchema>;

/** Validates settings. @throws {JobError} that names the setting */
export function checkSettings(settings: JobSettings): FullJobSettings {
  const parsed = settingsSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`setting ${path.join(".")}: ${message}`);
}
