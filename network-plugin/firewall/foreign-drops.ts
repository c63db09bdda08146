import type { Context } from '../../shared/context.ts';
import { newContext } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { isAccept, type Json, objects, targetOf } from '../../shared/kernel/iptables-nft.ts';
import { type Nftables, openNftables } from '../../shared/kernel/nftables.ts';
import type { Logger } from '../../shared/log.ts';
import { TABLE } from './ruleset.ts';

/** A chain of others that every forwarded packet passes, and that drops what nobody accepts in it. */
export interface ForeignDrop {
  /** With its family: `inet firewalld`. */
  readonly table: string;
  readonly chain: string;
}

const FAMILIES = ['inet', 'ip', 'ip6'] as const;
const HOOKS: ReadonlySet<unknown> = new Set(['prerouting', 'forward']);
/** The firewall has accepts of its own in these: see `ForwardAccepts`. */
const SEEN_TO: ReadonlySet<string> = new Set(['ip filter FORWARD', 'ip6 filter FORWARD']);

/**
 * Chains of nftables that would drop containers' packets whatever our own table says: by their policy or, as firewalld
 * does it, by a last rule that drops or rejects all. One that lets packets from and to `dry*` links through is not named;
 * more than that is not understood of others' rules. Reads only. Errors: FIREWALL.
 */
export async function foreignDrops(_c: Context, nft?: Nftables): Promise<readonly ForeignDrop[]> {
  if (nft !== undefined) return find(nft);
  using own = openNftables();
  return find(own);
}

const LOOK_MS = 10_000;

/** Answers a function that says in the log which of them are there: each once, until it was gone. */
export const dropTeller = (log: Logger, look: typeof foreignDrops = foreignDrops): (() => Promise<void>) => {
  let told: ReadonlySet<string> = new Set();
  return async () => {
    try {
      const drops = await look(newContext(log, LOOK_MS));
      const now = new Map(drops.map((drop) => [`${drop.table} ${drop.chain}`, drop]));
      for (const [key, { table, chain }] of now) {
        if (told.has(key)) continue;
        log.warn('forwarded packets that nobody accepts in a chain of others are dropped there, containers’ too', {
          table,
          chain,
        });
      }
      told = new Set(now.keys());
    } catch (error) {
      log.warn('the chains of others could not be looked at', { error: asPluginError(error) });
    }
  };
};

const find = (nft: Nftables): ForeignDrop[] =>
  FAMILIES.flatMap((family) => objects(nft.json(`list chains ${family}`, 'to list the chains of others'), 'chain'))
    .filter((chain) => HOOKS.has(chain.hook))
    .map((chain) => ({ table: `${chain.family} ${chain.table}`, chain: String(chain.name), policy: chain.policy }))
    .filter(({ table, chain }) => table !== TABLE && !SEEN_TO.has(`${table} ${chain}`))
    .filter(({ table, chain, policy }) => {
      const rules = objects(nft.json(`list chain ${table} ${chain}`, `to list the chain ${chain}`), 'rule');
      return (policy === 'drop' || isLastWord(rules.at(-1))) && !isOpen(rules);
    })
    .map(({ table, chain }) => ({ table, chain }));

/** A rule without a condition, that drops or rejects. */
const isLastWord = (rule: Json | undefined): boolean => {
  const steps = Array.isArray(rule?.expr) ? (rule.expr as readonly Json[]) : [];
  const rest = steps.filter((step) => !('counter' in step || 'log' in step));
  return rest.length === 1 && /^(DROP|REJECT)$/.test(targetOf(rest[0] ?? {}) ?? '');
};

const isOpen = (rules: readonly Json[]): boolean =>
  (['iifname', 'oifname'] as const).every((key) => rules.some((rule) => isAccept(rule, key)));
