import { afterAll } from "vitest";
import { stopViews } from "./view-process.ts";

// Of a file of tests, whatever happened in it.
afterAll(stopViews);
