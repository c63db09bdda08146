import { closeSync, openSync, readSync } from 'node:fs';
import type { Context } from '../context.ts';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';
import { exec } from './exec.ts';

/**
 * Accepts for forwarded packets in the chains FORWARD that iptables made: a drop there (Docker sets that policy) cannot
 * be undone by a table of our own, because an accept only ends the table that it is in.
 *
 * One jump to a chain of ours; nothing else is touched. iptables-legacy is a kernel table of its own, changed through
 * its program; what iptables-nft made is an nftables table, changed through nftables in the form that iptables-nft
 * writes and reads. A table that is not there is never made: merely listing a legacy table would make it.
 */

export const CHAIN = 'DRAYAGE-FORWARD';
const USER_CHAIN = 'DOCKER-USER';

/** A rule of FORWARD, as far as its place among others matters. */
export interface ForwardRule {
  /** Where it jumps or what it decides: a chain, `ACCEPT`, `DROP`, `REJECT`; `''` when it goes on. */
  readonly target: string;
  /** It only matches packets of named links, none of them ours. */
  readonly elsewhere: boolean;
  /** nftables' number of the rule. */
  readonly handle?: number;
}

export interface Chains {
  readonly forward: readonly ForwardRule[];
  /** Our own chain says what it should. Undefined: there is none. */
  readonly own: boolean | undefined;
}

/** One of iptables' tables `filter`. */
export interface FilterTable {
  /** Such as `iptables-legacy`. */
  readonly name: string;
  /** Is it in use? `changes` is a number that stays the same while nobody else changes nftables. */
  live(changes: number): boolean;
  read(c: Context): Promise<Chains>;
  /** Writes our chain, and puts the only jump to it in front of all rules, or behind the rule number `behind`. */
  write(chains: Chains, behind: number | undefined, c: Context): Promise<void>;
  remove(chains: Chains, c: Context): Promise<void>;
}

/** What keeps the accepts from working, or undefined. The jump's best place is behind the rule with number `behind`. */
export const judge = (
  chains: Chains,
): { readonly problem: string | undefined; readonly behind: number | undefined } => {
  const { forward, own } = chains;
  const user = forward.findIndex(({ target }) => target === USER_CHAIN);
  const behind = user < 0 ? undefined : user;
  const jumps = forward.filter(({ target }) => target === CHAIN).length;
  const at = forward.findIndex(({ target }) => target === CHAIN);
  const refused = forward.findIndex(
    ({ target, elsewhere }) => !elsewhere && (target === 'DROP' || target === 'REJECT'),
  );
  const problem = (): string | undefined => {
    if (own === undefined) return `has no chain ${CHAIN}`;
    if (!own) return `has other rules in the chain ${CHAIN}`;
    if (jumps === 0) return `has no jump to ${CHAIN} in FORWARD`;
    if (jumps > 1) return `jumps to ${CHAIN} ${jumps} times`;
    if (behind !== undefined && at < behind) return `jumps to ${CHAIN} before ${USER_CHAIN}`;
    if (refused >= 0 && refused < at) return `refuses packets before it jumps to ${CHAIN}`;
    return undefined;
  };
  return { problem: problem(), behind };
};

/** Links of ours, in iptables' words. */
const LINKS = 'dry+';
const ACCEPTS = [`-A ${CHAIN} -i ${LINKS} -j ACCEPT`, `-A ${CHAIN} -o ${LINKS} -j ACCEPT`];
const WAIT_SECONDS = '5';

/** Does a link named in a rule leave ours out? A trailing `+` (iptables) or `*` (nft) stands for any ending. */
export const leavesOurs = (link: string): boolean => {
  const stem = /[+*]$/.test(link) ? link.slice(0, -1) : undefined;
  return stem === undefined ? !link.startsWith('dry') : !stem.startsWith('dry') && !'dry'.startsWith(stem);
};

/** A line of `iptables -S FORWARD`. */
export const parseRule = (line: string): ForwardRule => {
  const words = line.split(' ');
  const after = (option: string): string | undefined => {
    const at = words.indexOf(option);
    return at < 0 || words[at - 1] === '!' ? undefined : words[at + 1];
  };
  const target = after('-j') ?? after('-g') ?? '';
  const links = [after('-i'), after('-o')].filter((link) => link !== undefined);
  return { target, elsewhere: links.some(leavesOurs) };
};

/** The table that iptables-legacy uses. */
export const legacyTable = (family: 4 | 6): FilterTable => {
  const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
  const names = new ProcList(`/proc/self/net/ip${family === 4 ? '' : '6'}_tables_names`);
  const restore = async (lines: readonly string[], c: Context): Promise<void> => {
    const stdin = ['*filter', ...lines, 'COMMIT', ''].join('\n');
    await exec(`${program}-restore`, ['--noflush', '-w', WAIT_SECONDS], c, { stdin });
  };
  const unjump = (chains: Chains): string[] =>
    chains.forward.filter(({ target }) => target === CHAIN).map(() => `-D FORWARD -j ${CHAIN}`);
  return {
    name: program,
    live: () => names.lines().includes('filter'),
    read: async (c) => {
      const list = async (chain: string, allow: readonly number[]) =>
        exec(program, ['-w', WAIT_SECONDS, '-S', chain], c, { allow });
      const [forward, own] = await Promise.all([list('FORWARD', [0]), list(CHAIN, [0, 1])]);
      const rules = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('-A '));
      return {
        forward: rules(forward.stdout).map(parseRule),
        own: own.status === 0 ? rules(own.stdout).join('\n') === ACCEPTS.join('\n') : undefined,
      };
    },
    write: async (chains, behind, c) => {
      const before =
        behind === undefined ? 0 : chains.forward.slice(0, behind + 1).filter((r) => r.target !== CHAIN).length;
      await restore([`:${CHAIN} - [0:0]`, ...ACCEPTS, ...unjump(chains), `-I FORWARD ${before + 1} -j ${CHAIN}`], c);
    },
    remove: (chains, c) =>
      restore([...unjump(chains), ...(chains.own === undefined ? [] : [`-F ${CHAIN}`, `-X ${CHAIN}`])], c),
  };
};

const ROOM = 4096;

/** A short list in /proc that is asked for with each container: it stays open, for opening takes longer than reading. */
class ProcList {
  readonly #path: string;
  readonly #buffer = Buffer.alloc(ROOM);
  #fd: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines as they are now. No such file, no lines: the kernel does not have what it is about, or not yet. */
  lines(): string[] {
    const fd = this.#fd;
    if (fd !== undefined) {
      try {
        return this.#read(fd);
      } catch {
        // The kernel's module was unloaded; it may have been loaded again since.
        this.#fd = undefined;
        closeSync(fd);
      }
    }
    try {
      this.#fd = openSync(this.#path, 'r');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
    return this.#read(this.#fd);
  }

  #read(fd: number): string[] {
    return this.#buffer.toString('latin1', 0, readSync(fd, this.#buffer, 0, ROOM, 0)).split('\n');
  }
}

export interface AcceptDrift {
  readonly what: string;
  readonly repaired: boolean;
}

/** The accepts in all of iptables' tables that are in use. One call at a time. */
export class ForwardAccepts {
  readonly #tables: readonly FilterTable[];
  readonly #changes: () => number;
  #known = '';

  /** `changes`: see `Nftables.foreignChanges`; without it nftables is looked at each time. */
  constructor(tables: readonly FilterTable[], changes: () => number = () => Number.NaN) {
    this.#tables = tables;
    this.#changes = changes;
  }

  /** Compares, and repairs when `repair`. Writes nothing when all is well. Throws only when the context ends. */
  async check(repair: boolean, c: Context): Promise<AcceptDrift[]> {
    const drift: AcceptDrift[] = [];
    const live = this.#live();
    for (const table of live) {
      try {
        drift.push(...(await checkTable(table, repair, c)));
      } catch (error) {
        c.signal.throwIfAborted();
        const reason = error instanceof PluginError ? `${error.message} ${error.fix}` : String(error);
        drift.push({ what: `${table.name} could not be checked: ${reason}`, repaired: false });
      }
    }
    this.#known = live.map(({ name }) => name).join();
    return drift;
  }

  /** Cheap, for every container: checks and repairs only when a table has come into use since the last check. */
  async ensure(c: Context): Promise<readonly AcceptDrift[]> {
    const live = this.#live()
      .map(({ name }) => name)
      .join();
    return live === this.#known ? [] : this.check(true, c);
  }

  async remove(c: Context): Promise<void> {
    for (const table of this.#live()) {
      const chains = await table.read(c);
      const jumps = chains.forward.some(({ target }) => target === CHAIN);
      if (jumps || chains.own !== undefined) await table.remove(chains, c);
    }
    this.#known = '';
  }

  #live(): readonly FilterTable[] {
    // Read before looking: what changes meanwhile is looked at again.
    const changes = this.#changes();
    return this.#tables.filter((table) => table.live(changes));
  }
}

const checkTable = async (table: FilterTable, repair: boolean, c: Context): Promise<readonly AcceptDrift[]> => {
  const chains = await table.read(c);
  const { problem, behind } = judge(chains);
  if (problem === undefined) return [];
  if (repair) await table.write(chains, behind, c);
  return [{ what: `${table.name} ${problem}`, repaired: repair }];
};
