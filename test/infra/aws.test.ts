import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseWebhookSecrets } from "../../src/edge/jobs/events/webhook-secrets.ts";
import { MIN_TOKEN_LENGTH } from "../../src/service/bearer.ts";

const template = (name: string) => readFileSync(join(import.meta.dirname, "../../infra/aws", name), "utf8");
const number = (text: string, name: string) => Number(new RegExp(`${name}: (\\d+)`).exec(text)![1]);

/** infra/aws/check.sh checks that they are valid CloudFormation. */
describe("the AWS templates match the job service", () => {
  it("SNS stops retrying before its messages are too old, within its limit of 3600 s", () => {
    const text = template("sns.yaml");
    expect(number(text, "numRetries") * number(text, "maxDelayTarget")).toBeLessThan(3600);
  });

  it("SNS uses an accepted signature version, and a valid topic name", () => {
    const text = template("sns.yaml");
    expect(text).toContain('SignatureVersion: "2"');
    expect(text).toContain("RawMessageDelivery: false");
    const name = /TopicName:\n {4}Type: String\n {4}Default: ([\w-]+)/.exec(text)![1];
    const topics = [`arn:aws:sns:eu-central-1:123456789012:${name}`];
    expect(parseWebhookSecrets({ WEBHOOKS: JSON.stringify({ sns: { topics } }) }, "sns").topics).toEqual(
      topics,
    );
  });

  it("EventBridge sends a valid key in the expected header", () => {
    const text = template("eventbridge.yaml");
    expect(text).toContain("ApiKeyName: X-Api-Key");
    const minLength = number(text.slice(text.indexOf("  ApiKey:")), "MinLength");
    expect(minLength).toBeGreaterThanOrEqual(MIN_TOKEN_LENGTH);
  });

  it.each(["sns", "eventbridge"])("%s may only read objects, and posts to its own route", (kind) => {
    const text = template(`${kind}.yaml`);
    expect(
      [...text.matchAll(/s3:[A-Z]\w+/g)].map(([action]) => action).filter((a) => a !== "s3:ObjectCreated"),
    ).toEqual(["s3:GetObject", "s3:GetObjectVersion"]);
    expect(text).toContain(`/v1/webhooks/${kind}$"`);
    expect(text).not.toContain('Principal: "*"');
  });
});
