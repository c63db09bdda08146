import { join } from 'node:path';
import { FedProgram } from '../../shared/kernel/companion.ts';
import { writeFrom } from '../../shared/kernel/syscalls.ts';
import type { Logger } from '../../shared/log.ts';
import type { Kernel } from './file-system.ts';
import { NOTIFY, OUT_HEADER } from './wire.ts';

/** A message is held back for so long. */
const LONGEST_MS = 1_000;
const SHELL = '/bin/sh';
/** Beside this file in the sources, and beside the engine's own in the image. */
const SCRIPT = join(import.meta.dirname, 'notify.sh');
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/**
 * Tells the kernel what it has not asked. A message that takes names or pages from it waits in the kernel for whoever has locked
 * them, and that one may wait for an answer of this very process. So those go through another process (notify.sh): a
 * thread of this one would hold it up when it is killed, and with it the engine's next life.
 */
export class Notifier implements Kernel {
  readonly #fd: number;
  readonly #log: Logger;
  readonly #isBusy: (node: number) => boolean;
  /** Messages about nodes that somebody waits for, and since when. */
  readonly #held = new Map<number, { readonly messages: Buffer[]; readonly timer: NodeJS.Timeout }>();
  #speaker: FedProgram | undefined;

  /** `isBusy`: does anybody wait for an answer about a node? Then the kernel has locked it, or part of it. */
  constructor(fd: number, isBusy: (node: number) => boolean, log: Logger) {
    this.#fd = fd;
    this.#isBusy = isBusy;
    this.#log = log;
  }

  invalidate(node: number, offset: number, length: number): void {
    const message = head(NOTIFY.INVAL_INODE, 24);
    writeWide(message, node, OUT_HEADER);
    // A negative offset is the kernel's word for attributes only; a length of 0 for all the rest.
    writeWide(message, length < 0 ? -1 : offset, OUT_HEADER + 8);
    writeWide(message, Math.max(0, length), OUT_HEADER + 16);
    // Attributes alone are behind no lock.
    if (length < 0) writeFrom(this.#fd, message, message.length);
    else this.#sayLater(node, message);
  }

  invalidateName(parent: number, name: string): void {
    const text = Buffer.from(`${name}\0`);
    const message = head(NOTIFY.INVAL_ENTRY, 16 + text.length);
    writeWide(message, parent, OUT_HEADER);
    message.writeUInt32LE(text.length - 1, OUT_HEADER + 8);
    message.writeUInt32LE(0, OUT_HEADER + 12);
    text.copy(message, OUT_HEADER + 16);
    this.#sayLater(parent, message);
  }

  /** Nobody waits for the node any more: says what was held back. */
  idle(node: number): void {
    const held = this.#held.get(node);
    if (held === undefined) return;
    this.#held.delete(node);
    clearTimeout(held.timer);
    for (const message of held.messages) this.#say(message);
  }

  /** Has the kernel send again what was not answered. Waits for nobody. */
  resend(): void {
    const message = head(NOTIFY.RESEND, 0);
    const written = writeFrom(this.#fd, message, message.length);
    if (written < 0) this.#log.warn('the kernel sends nothing again', { errno: -written });
  }

  stop(): void {
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    this.#speaker?.dismiss();
    this.#speaker = undefined;
  }

  /** At once, or as soon as nobody waits for the node, which would keep the speaker waiting in the kernel; but not for ever. */
  #sayLater(node: number, message: Buffer): void {
    const held = this.#held.get(node);
    if (held !== undefined) held.messages.push(message);
    else if (!this.#isBusy(node)) this.#say(message);
    else this.#held.set(node, { messages: [message], timer: setTimeout(() => this.idle(node), LONGEST_MS) });
  }

  #say(message: Buffer): void {
    if (this.#speaker === undefined || this.#speaker.ended)
      this.#speaker = new FedProgram(SHELL, [SCRIPT], [this.#fd], ENVIRONMENT, this.#log);
    this.#speaker.say(escaped(message));
  }
}

/** struct fuse_out_header of what nobody has asked. */
const head = (code: number, size: number): Buffer => {
  const message = Buffer.alloc(OUT_HEADER + size);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(code, 4);
  return message;
};

const writeWide = (into: Buffer, value: number, at: number): void => {
  into.writeBigInt64LE(BigInt(value), at);
};

/** Bytes in octal for printf(1); letters and digits as they are, unless one follows a number and would lengthen it: those always have three digits. */
const escaped = (message: Buffer): string => {
  let text = '';
  for (const byte of message) {
    const isPlain = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
    text += isPlain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  }
  return text;
};
