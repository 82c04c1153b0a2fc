import * as z from "zod";

const common = {
  MessageId: z.string().regex(/^[\w-]{1,128}$/),
  TopicArn: z.string().max(1024),
  Message: z.string(),
  Timestamp: z.iso.datetime(),
  SignatureVersion: z.enum(["1", "2"]),
  Signature: z.base64().min(1).max(2048),
  SigningCertURL: z.string().max(2048),
};
const confirmation = { Token: z.string().max(2048), SubscribeURL: z.string().max(4096) };

/** Messages of SNS: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html */
export const snsMessageSchema = z.discriminatedUnion("Type", [
  z.object({ Type: z.literal("Notification"), ...common, Subject: z.string().max(1024).nullish() }),
  z.object({ Type: z.literal("SubscriptionConfirmation"), ...common, ...confirmation }),
  z.object({ Type: z.literal("UnsubscribeConfirmation"), ...common, ...confirmation }),
]);

export type SnsMessage = z.output<typeof snsMessageSchema>;

/**
 * The text that SNS signs: names and values of some fields, each on a line, in this order
 * (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
 */
export function signedText(message: SnsMessage): string {
  const fields: [string, string | null | undefined][] =
    message.Type === "Notification"
      ? [
          ["Message", message.Message],
          ["MessageId", message.MessageId],
          ["Subject", message.Subject],
          ["Timestamp", message.Timestamp],
          ["TopicArn", message.TopicArn],
          ["Type", message.Type],
        ]
      : [
          ["Message", message.Message],
          ["MessageId", message.MessageId],
          ["SubscribeURL", message.SubscribeURL],
          ["Timestamp", message.Timestamp],
          ["Token", message.Token],
          ["TopicArn", message.TopicArn],
          ["Type", message.Type],
        ];
  return fields.map(([name, value]) => (value == null ? "" : `${name}\n${value}\n`)).join("");
}

/**
 * Accepts only https addresses of a host of SNS.
 * @returns undefined for all others
 */
export function snsUrl(address: string): URL | undefined {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const isSns =
    url?.protocol === "https:" &&
    /^sns\.[a-z]{2}(-[a-z]{1,16}){1,3}-\d{1,2}\.amazonaws\.com(\.cn)?$/.test(url.hostname) &&
    url.port === "" &&
    url.username === "" &&
    url.password === "" &&
    url.hash === "";
  return isSns ? url : undefined;
}

/** @returns undefined unless it is the address of a certificate of SNS */
export function certificateUrl(address: string): URL | undefined {
  const url = snsUrl(address);
  const isPem = url?.search === "" && /^\/SimpleNotificationService-[\w]{1,128}\.pem$/.test(url.pathname);
  return isPem ? url : undefined;
}

/** @returns undefined unless it confirms a subscription to this topic */
export function confirmationUrl(address: string, topic: string): URL | undefined {
  const url = snsUrl(address);
  const query = url?.searchParams;
  const confirms = query?.get("Action") === "ConfirmSubscription" && query.get("TopicArn") === topic;
  return confirms ? url : undefined;
}
