import { describe, expect, it } from "vitest";
import { callbackAllowed } from "../../../src/edge/jobs/lifecycle/callback.ts";

const env = {
  CALLBACK_HOSTS: "lab.example.org, hooks.example.org:8443,127.0.0.1:9000",
  CALLBACK_SECRET: "secret-of-the-callbacks",
};

describe("a callback goes to allowed hosts only", () => {
  it.each([
    "https://lab.example.org/done?job=1",
    "https://LAB.example.org:443/",
    "https://hooks.example.org:8443/",
    "http://127.0.0.1:9000/",
  ])("%s", (address) => {
    expect(callbackAllowed(env, address)).toBe(true);
  });

  it.each([
    "http://lab.example.org/",
    "https://lab.example.org:8443/",
    "https://hooks.example.org/",
    "https://sub.lab.example.org/",
    "https://lab.example.org.evil.example/",
    "https://lab.example.org@evil.example/",
    "https://user:password@lab.example.org/",
    "ftp://lab.example.org/",
  ])("is not sent to %s", (address) => {
    expect(callbackAllowed(env, address)).toBe(false);
  });

  it("is not sent without a secret or without allowed hosts", () => {
    expect(callbackAllowed({ ...env, CALLBACK_SECRET: "" }, "https://lab.example.org/")).toBe(false);
    expect(callbackAllowed({ CALLBACK_SECRET: env.CALLBACK_SECRET }, "https://lab.example.org/")).toBe(false);
  });
});
