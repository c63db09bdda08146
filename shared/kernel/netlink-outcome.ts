import { demand, eachAttribute, type Message, readText } from './attribute.ts';
import { KernelError } from './kernel-error.ts';
import type { Request } from './netlink-request.ts';

/** What the kernel says became of a request. */

const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const EBADMSG = 74;
const ENOBUFS = 105;

/** The receive buffer overflowed. */
export const lost = (request: Request | undefined): KernelError =>
  new KernelError(request?.what ?? '', ENOBUFS, 'the answer was lost, the outcome is unknown');

/** The refusal in an acknowledgement or at the end of a dump; undefined when it says that all went well. */
export const failureOf = (message: Message, { what, absent }: Request): KernelError | undefined => {
  const { body } = message;
  if (body.length < 4) return message.type === NLMSG_DONE ? undefined : new KernelError(what, EBADMSG);
  const errno = -body.readInt32LE(0);
  if (errno === 0 || errno === absent) return undefined;
  let reason: string | undefined;
  if ((message.flags & NLM_F_ACK_TLVS) !== 0) {
    eachAttribute(body, explanationAt(message), (type, value) => {
      if (type === NLMSGERR_ATTR_MSG) reason = readText(value).replace(/^Error: /, '');
    });
  }
  return new KernelError(what, errno, reason);
};

/** Where the explanation begins: after the errno, and in an acknowledgement after (the header of) the request. */
const explanationAt = (message: Message): number => {
  if (message.type === NLMSG_DONE) return 4;
  demand(message.body, 20);
  if ((message.flags & NLM_F_CAPPED) !== 0) return 20;
  return 4 + ((message.body.readUInt32LE(4) + 3) & ~3);
};
