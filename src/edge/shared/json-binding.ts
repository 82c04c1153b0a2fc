import type * as z from "zod";
import { HttpError } from "../../service/http-error.ts";

/**
 * Parses and checks a binding that holds JSON. The error says what the binding must be, not its value, which may be a
 * secret; the log names the place of the fault.
 * @param expected ends the sentence "the Worker's binding NAME must be …"
 * @returns undefined where the binding is not set
 * @throws {HttpError} 503
 */
export function parseJsonBinding<T extends z.ZodType>(
  name: string,
  text: string | undefined,
  schema: T,
  expected: string,
): z.output<T> | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong(name, expected, "not JSON");
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, code } = parsed.error.issues[0]!;
  throw wrong(name, expected, `${code} at ${path.join(".") || "the top"}`);
}

function wrong(name: string, expected: string, detail: string): HttpError {
  console.error(`binding ${name}: ${detail}`);
  return new HttpError(503, "not_configured", `the Worker's binding ${name} must be ${expected}`);
}
