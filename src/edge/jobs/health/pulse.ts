import { DurableObject } from "cloudflare:workers";
import type { Bindings } from "../context/bindings.ts";

/** A probe in the event queue: its return shows that the queue delivers. */
export interface PulseMessage {
  pulse: number;
}

interface State {
  /** When the oldest unanswered probe was sent. */
  unheard?: number;
  sentAt?: number;
  /** When the pending alarm should ring. */
  alarmDue?: number;
}

const STATE = "state";
const EVERY_MS = 15_000;
const ALARM_MS = 1000;
const LATE_SECONDS = 300;

/**
 * Checks that queues and alarms work: it sends a probe through the event queue, which must come back, and sets an alarm,
 * which must ring. Only /healthz calls it; it sends at most one probe in 15 s.
 */
export class Pulse extends DurableObject<Bindings> {
  /** @returns why jobs make no progress; undefined where they do */
  async check(): Promise<string | undefined> {
    const now = Date.now();
    const state = (await this.ctx.storage.get<State>(STATE)) ?? {};
    const lateMs = (Number(this.env.HEALTH_SECONDS) || LATE_SECONDS) * 1000;
    let reason: string | undefined;
    if (now - (state.sentAt ?? 0) >= EVERY_MS) {
      state.sentAt = now;
      state.unheard ??= now;
      if (state.alarmDue === undefined) {
        state.alarmDue = now + ALARM_MS;
        await this.ctx.storage.setAlarm(state.alarmDue);
      }
      // Stored before it is sent: the probe may come back at once.
      await this.ctx.storage.put(STATE, state);
      try {
        await this.env.EVENTS?.send({ pulse: now } satisfies PulseMessage);
      } catch (error) {
        console.error(error);
        reason = "the event queue accepts no messages";
      }
    }
    const silent = now - (state.unheard ?? now);
    if (silent > lateMs) reason ??= `the event queue has delivered nothing for ${seconds(silent)} s`;
    const late = now - (state.alarmDue ?? now);
    if (late > lateMs) reason ??= `an alarm that was due ${seconds(late)} s ago has not rung`;
    return reason;
  }

  /** The probe came back. */
  async acknowledge(): Promise<void> {
    const state = (await this.ctx.storage.get<State>(STATE)) ?? {};
    await this.ctx.storage.put(STATE, { ...state, unheard: undefined });
  }

  override async alarm(): Promise<void> {
    const state = (await this.ctx.storage.get<State>(STATE)) ?? {};
    await this.ctx.storage.put(STATE, { ...state, alarmDue: undefined });
  }
}

export function isPulse(body: unknown): body is PulseMessage {
  return typeof (body as PulseMessage | undefined)?.pulse === "number";
}

export function getPulse({ PULSE }: Bindings): Pick<Pulse, "check" | "acknowledge"> | undefined {
  if (typeof PULSE?.idFromName !== "function") return undefined;
  return PULSE.get(PULSE.idFromName("service")) as unknown as Pick<Pulse, "check" | "acknowledge">;
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
