import { PluginError } from '../errors.ts';
import { demand, eachAttribute, type Message } from './attribute.ts';
import { Netlink } from './netlink.ts';
import type { Request } from './netlink-request.ts';
import { insideNetns } from './netns.ts';
import { type ElementChange, elementRequests, NFNL_SUBSYS_NFTABLES } from './nft-elements.ts';
import { type Foreign, loadLibrary } from './syscalls.ts';

/**
 * nftables by way of libnftables, in this process: 0.14 ms for adding an element, against 5 ms for starting `nft`.
 *
 * How it fails: what nft would print becomes the error; a script is one transaction, so a failure changes nothing.
 * The library ends the process when it is out of memory or cannot open a netlink socket, which the kernel would do to
 * us anyway, or which the next start finds too. It knows no deadline; the kernel answers in-line.
 */
export interface Nftables extends Disposable {
  /**
   * Runs commands as one transaction and answers what they print (listings). The text must be made of validated parts.
   * Errors: FIREWALL with nft's words; `what` says in them what was attempted ("to add port 8080").
   */
  run(script: string, what: string): string;
  /** The same, with a listing as JSON that holds the handles of rules (see libnftables-json(5)). */
  json(script: string, what: string): string;
  /**
   * The same for commands that change something for certain (`create`, not `add`), and in tables of our own only:
   * `foreignChanges` does not count them.
   */
  change(script: string, what: string): void;
  /** Changes elements of tables of our own, all or nothing; what is not ours is not asked for. Errors: FIREWALL. */
  changeElements(changes: readonly ElementChange[], what: string): void;
  /**
   * A number that stays as it is until somebody else changes any table of the namespace; 20 µs. It may also become
   * another one without that, never the other way round. Errors: FIREWALL.
   */
  foreignChanges(): number;
  close(): void;
}

const SONAME = 'libnftables.so.1';
const STATELESS = 1 << 2;
const HANDLE = 1 << 3;
const JSON_OUTPUT = 1 << 4;
/** Protocols as numbers: their names come from /etc/protocols, which a small image does not have. */
const NUMERIC_PROTOCOL = 1 << 7;

interface Library {
  readonly create: Foreign;
  readonly free: Foreign;
  readonly bufferOutput: Foreign;
  readonly bufferErrors: Foreign;
  readonly output: Foreign;
  readonly errors: Foreign;
  readonly setFlags: Foreign;
  readonly run: Foreign;
}

let loaded: Library | undefined;

const library = (): Library => {
  if (loaded !== undefined) return loaded;
  let symbol: (prototype: string) => Foreign;
  try {
    symbol = loadLibrary(SONAME);
  } catch (cause) {
    const reason = `${SONAME} is not installed (Debian: libnftables1)`;
    throw new PluginError('FIREWALL', { what: 'to start', reason }, { cause });
  }
  loaded = {
    create: symbol('void *nft_ctx_new(uint32_t flags)'),
    free: symbol('void nft_ctx_free(void *ctx)'),
    bufferOutput: symbol('int nft_ctx_buffer_output(void *ctx)'),
    bufferErrors: symbol('int nft_ctx_buffer_error(void *ctx)'),
    output: symbol('const char *nft_ctx_get_output_buffer(void *ctx)'),
    errors: symbol('const char *nft_ctx_get_error_buffer(void *ctx)'),
    setFlags: symbol('void nft_ctx_output_set_flags(void *ctx, uint32_t flags)'),
    run: symbol('int nft_run_cmd_from_buffer(void *ctx, const char *commands)'),
  };
  return loaded;
};

const NETLINK_NETFILTER = 12;
/** Kernel source: include/uapi/linux/netfilter/nf_tables.h; a generation is what one committed transaction makes. */
const NFT_MSG_GETGEN = (NFNL_SUBSYS_NFTABLES << 8) | 16;
const NFTA_GEN_ID = 1;
const NFGENMSG_SIZE = 4;
/** It is 32 bits wide, and never 0. */
const GENERATIONS = 2 ** 32;
const next = (generation: number): number => (generation + 1) % GENERATIONS || 1;

const READ_GENERATION: Request = {
  type: NFT_MSG_GETGEN,
  flags: 0,
  what: 'read the generation of nftables',
  write: (writer) => writer.body(NFGENMSG_SIZE, () => undefined),
};

const parseGeneration = ({ body }: Message): number => {
  let generation = 0;
  eachAttribute(demand(body, NFGENMSG_SIZE), NFGENMSG_SIZE, (type, value) => {
    if (type === NFTA_GEN_ID) generation = demand(value, 4).readUInt32BE(0);
  });
  return generation;
};

/** The first line of nft's message: the rest repeats the script. */
const firstLine = (text: string): string =>
  (text.split('\n')[0] ?? '').replace(/^(?:\S+:\d+:\d+-\d+: )?Error: /, '').trim();

const refusal = (what: string, cause: unknown): PluginError => {
  const reason = cause instanceof Error ? cause.message.replace(/^KERNEL: /, '') : String(cause);
  return new PluginError('FIREWALL', { what, reason }, { cause });
};

class LibraryNftables implements Nftables {
  readonly #library: Library;
  readonly #netfilter: Netlink;
  #context: bigint | undefined;
  /** Transactions that were ours for certain. */
  #own = 0;

  constructor(found: Library, context: bigint, netfilter: Netlink) {
    this.#library = found;
    this.#context = context;
    this.#netfilter = netfilter;
    found.bufferOutput(context);
    found.bufferErrors(context);
  }

  run(script: string, what: string): string {
    return this.#run(script, what, STATELESS | NUMERIC_PROTOCOL);
  }

  json(script: string, what: string): string {
    return this.#run(script, what, JSON_OUTPUT | HANDLE | NUMERIC_PROTOCOL);
  }

  change(script: string, what: string): void {
    const before = this.#generation();
    this.run(script, what);
    // A larger step: somebody else's transaction came between. Then ours is counted as well.
    if (this.#generation() === next(before)) this.#own += 1;
  }

  changeElements(changes: readonly ElementChange[], what: string): void {
    const requests = changes.flatMap(elementRequests);
    if (requests.length === 0) return;
    try {
      this.#netfilter.transaction(NFNL_SUBSYS_NFTABLES, requests);
    } catch (cause) {
      throw refusal(what, cause);
    }
    // Creating and deleting always change something.
    this.#own += 1;
  }

  foreignChanges(): number {
    return this.#generation() - this.#own;
  }

  #generation(): number {
    try {
      return this.#netfilter.ask(READ_GENERATION, parseGeneration) ?? 0;
    } catch (cause) {
      throw refusal('to see whether tables were changed', cause);
    }
  }

  #run(script: string, what: string, flags: number): string {
    const context = this.#context;
    if (context === undefined) throw new PluginError('FIREWALL', { what, reason: 'it was closed' });
    this.#library.setFlags(context, flags);
    const status = this.#library.run(context, script);
    // Both buffers are taken each time: taking is what empties them.
    const output = String(this.#library.output(context) ?? '');
    const errors = String(this.#library.errors(context) ?? '');
    if (status !== 0)
      throw new PluginError('FIREWALL', { what, reason: firstLine(errors) }, { cause: new Error(errors) });
    return output;
  }

  close(): void {
    if (this.#context !== undefined) this.#library.free(this.#context);
    this.#context = undefined;
    this.#netfilter.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Opens nftables of the calling thread's network namespace, or of the one that the descriptor `netns` stands for: the
 * netlink socket stays in it. Errors: FIREWALL when the library is missing.
 */
export const openNftables = (netns?: number): Nftables => {
  const found = library();
  const open = (): Nftables => {
    const context = found.create(0);
    if (typeof context !== 'bigint' || context === 0n) {
      throw new PluginError('FIREWALL', { what: 'to start', reason: `${SONAME} gave no context` });
    }
    return new LibraryNftables(found, context, new Netlink(NETLINK_NETFILTER));
  };
  return netns === undefined ? open() : insideNetns(netns, open);
};
