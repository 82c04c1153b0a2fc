import { z } from "zod";
import { isOrientation } from "../tiling/grid/orientation.ts";
import { JobError } from "./errors.ts";
import { OVERLAY_STYLES } from "./outputs/overlay.ts";

const wholes = z.int().nonnegative();

export const settingsSchema = z.object({
  /** Level to segment; default the coarsest that is not coarser than the model's spacing. */
  level: wholes.optional(),
  /** How many times coarser than the model's pixels may be; default what the package says, or 2.5. */
  maxMagnification: z.number().min(1).max(1000).optional(),
  /** x, y, width, height in level-0 samples. */
  roi: z.tuple([wholes, wholes, z.int().positive(), z.int().positive()]).readonly().optional(),
  overlapRatio: z.number().min(0).lt(1).optional(),
  policy: z.enum(["monai", "nnunet"]).optional(),
  importance: z.enum(["gaussian", "constant"]).optional(),
  precision: z.enum(["u8", "f16", "f32"]).default("u8"),
  /** How pictures show objects; default outline. */
  overlay: z.enum(OVERLAY_STYLES).optional(),
  /** Windows without tissue are left out. */
  tissueMask: z.boolean().default(true),
  /** Where x, y and z of a volume lead in the patient, for instance "LPS", where the file does not say or is wrong. */
  orientation: z
    .string()
    .refine(isOrientation, "must be three letters, one of L R, one of P A, one of I S, for instance LPS")
    .optional(),
  /** Channels of the source that feed the model, in its order. */
  channels: z.array(wholes).min(1).readonly().optional(),
});

/** What a user may choose of a job; what is left out is the package's or the default. */
export type JobSettings = z.input<typeof settingsSchema>;
/** Checked and with the defaults filled in: part of the job's identity. */
export type FullJobSettings = z.output<typeof settingsSchema>;

/** Throws a JobError that names the setting. */
export function checkSettings(settings: JobSettings): FullJobSettings {
  const parsed = settingsSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`setting ${path.join(".")}: ${message}`);
}
