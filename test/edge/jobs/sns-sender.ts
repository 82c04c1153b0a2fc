import { sign } from "node:crypto";
import { type MadeCertificate, makeCertificate } from "./make-certificate.ts";

export const TOPIC = "arn:aws:sns:eu-central-1:123456789012:scans";
export const CERTIFICATE_URL =
  "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem";
export const SUBSCRIBE_URL = `https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${TOPIC}&Token=0123abcd`;

export type Message = Record<string, string>;

/** Signs as documented by SNS, independently of the code that verifies. */
export class SnsSender {
  readonly certificate: MadeCertificate;
  #sent = 0;

  constructor(certificate = makeCertificate()) {
    this.certificate = certificate;
  }

  notification(message: unknown, fields: Message = {}): Message {
    return this.signed({ Type: "Notification", Message: JSON.stringify(message), ...fields });
  }

  confirmation(fields: Message = {}): Message {
    return this.signed({
      Type: "SubscriptionConfirmation",
      Message: "You have chosen to subscribe to the topic.",
      Token: "0123abcd",
      SubscribeURL: SUBSCRIBE_URL,
      ...fields,
    });
  }

  signed(fields: Message): Message {
    const message: Message = {
      MessageId: `00000000-0000-4000-8000-${String(++this.#sent).padStart(12, "0")}`,
      TopicArn: TOPIC,
      Timestamp: new Date().toISOString(),
      SignatureVersion: "2",
      SigningCertURL: CERTIFICATE_URL,
      UnsubscribeURL: "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
      ...fields,
    };
    const names =
      message.Type === "Notification"
        ? "Message MessageId Subject Timestamp TopicArn Type"
        : "Message MessageId SubscribeURL Timestamp Token TopicArn Type";
    let text = "";
    for (const name of names.split(" ")) if (name in message) text += `${name}\n${message[name]}\n`;
    const hash = message.SignatureVersion === "1" ? "sha1" : "sha256";
    const signature = sign(hash, Buffer.from(text, "utf8"), this.certificate.privateKey).toString("base64");
    return { ...message, Signature: signature };
  }
}
