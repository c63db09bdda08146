import { CHAIN, type Chains, type FilterTable, type ForwardRule, leavesOurs } from './iptables.ts';
import type { Nftables } from './nftables.ts';

/** The table `filter` of iptables-nft: an nftables table, whose rules are written here as iptables-nft writes them. */

export type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The objects of one kind in nft's JSON listing. */
export const objects = (listing: string, kind: 'chain' | 'rule'): Json[] => {
  const parsed: unknown = listing === '' ? {} : JSON.parse(listing);
  const all = isJson(parsed) && Array.isArray(parsed.nftables) ? parsed.nftables : [];
  return all.flatMap((entry: unknown) => (isJson(entry) && isJson(entry[kind]) ? [entry[kind]] : []));
};

const expressions = (rule: Json): Json[] => (Array.isArray(rule.expr) ? rule.expr.filter(isJson) : []);

/** The link that an expression `iifname "…"` or `oifname "…"` asks for. */
const linkOf = (expression: Json): string | undefined => {
  const { match } = expression;
  if (!isJson(match) || match.op !== '==' || !isJson(match.left) || !isJson(match.left.meta)) return undefined;
  const { key } = match.left.meta;
  return (key === 'iifname' || key === 'oifname') && typeof match.right === 'string' ? match.right : undefined;
};

export const targetOf = (expression: Json): string | undefined => {
  for (const verdict of ['accept', 'drop', 'reject']) if (verdict in expression) return verdict.toUpperCase();
  for (const step of [expression.jump, expression.goto]) {
    if (isJson(step) && typeof step.target === 'string') return step.target;
  }
  // A target that nftables has no word for, such as iptables' own REJECT.
  const { xt } = expression;
  return isJson(xt) && xt.type === 'target' && typeof xt.name === 'string' ? xt.name : undefined;
};

const forwardRule = (rule: Json): ForwardRule => {
  const all = expressions(rule);
  const links = all.map(linkOf).filter((link) => link !== undefined);
  return {
    target: all.map(targetOf).find((target) => target !== undefined) ?? '',
    elsewhere: links.some(leavesOurs),
    ...(typeof rule.handle === 'number' ? { handle: rule.handle } : {}),
  };
};

export const isAccept = (rule: Json | undefined, key: 'iifname' | 'oifname'): boolean => {
  if (rule === undefined) return false;
  const [match, ...rest] = expressions(rule).filter((expression) => !('counter' in expression));
  const found = match === undefined ? undefined : JSON.stringify(match);
  const wanted = JSON.stringify({ match: { op: '==', left: { meta: { key } }, right: 'dry*' } });
  return found === wanted && rest.length === 1 && 'accept' in (rest[0] ?? {});
};

const isOwn = (rules: readonly Json[]): boolean =>
  rules.length === 2 && isAccept(rules[0], 'iifname') && isAccept(rules[1], 'oifname');

export const nftTable = (nft: Nftables, family: 4 | 6): FilterTable => {
  const name = family === 4 ? 'iptables-nft' : 'ip6tables-nft';
  const kind = family === 4 ? 'ip' : 'ip6';
  const table = `${kind} filter`;
  const what = `to change the accepts of ${name}`;
  const chains = (): Json[] =>
    objects(nft.json(`list chains ${kind}`, `to list the chains of ${name}`), 'chain').filter(
      (c) => c.table === 'filter',
    );
  const rules = (chain: string): Json[] =>
    objects(nft.json(`list chain ${table} ${chain}`, `to list the chain ${chain} of ${name}`), 'rule');
  const unjump = (now: Chains): string[] =>
    now.forward
      .filter(({ target, handle }) => target === CHAIN && handle !== undefined)
      .map(({ handle }) => `delete rule ${table} FORWARD handle ${handle}`);
  const isLive = (): boolean => chains().some((chain) => chain.name === 'FORWARD' && chain.hook === 'forward');
  let seen: { readonly changes: number; readonly live: boolean } | undefined;
  return {
    name,
    live: (changes) => {
      if (seen?.changes !== changes) seen = { changes, live: isLive() };
      return seen.live;
    },
    read: async () => ({
      forward: rules('FORWARD').map(forwardRule),
      own: chains().some((chain) => chain.name === CHAIN) ? isOwn(rules(CHAIN)) : undefined,
    }),
    write: async (now, behind) => {
      const handle = behind === undefined ? undefined : now.forward[behind]?.handle;
      const place =
        handle === undefined ? `insert rule ${table} FORWARD` : `add rule ${table} FORWARD handle ${handle}`;
      const script = [
        `add chain ${table} ${CHAIN}`,
        `flush chain ${table} ${CHAIN}`,
        `add rule ${table} ${CHAIN} iifname "dry*" counter accept`,
        `add rule ${table} ${CHAIN} oifname "dry*" counter accept`,
        ...unjump(now),
        `${place} counter jump ${CHAIN}`,
      ];
      nft.run(script.join('\n'), what);
    },
    remove: async (now) => {
      const chain = now.own === undefined ? [] : [`flush chain ${table} ${CHAIN}`, `delete chain ${table} ${CHAIN}`];
      nft.run([...unjump(now), ...chain].join('\n'), what);
    },
  };
};
