import type { Clock } from "../orchestrator/scheduler/clock.ts";

/** The time of this machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};
