import { demand, eachAttribute, MalformedMessage, type Message, readText } from './attribute.ts';
import { Multicast, type MulticastOptions } from './multicast.ts';

/**
 * What is taken out of nftables. Kernel source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h
 * (NFNLGRP_NFTABLES), net/netfilter/nf_tables_api.c.
 */

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
const GONE = { 2: 'table', 5: 'chain', 8: 'rule' } as const;
/** Of NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE alike. */
const TABLE_NAME = 1;
const FAMILIES: Readonly<Record<number, string>> = {
  1: 'inet',
  2: 'ip',
  3: 'arp',
  5: 'netdev',
  7: 'bridge',
  10: 'ip6',
};

/** `resync`: events were lost. */
export type RuleEvent =
  | {
      readonly kind: 'deleted';
      readonly what: 'table' | 'chain' | 'rule';
      readonly family: string;
      readonly table: string;
    }
  | { readonly kind: 'resync' };

/** Calls `listener` for each table, chain and rule that is deleted, by whomever. Throws KernelError. */
export const monitorRules = (listener: (event: RuleEvent) => void, options: MulticastOptions = {}): Multicast =>
  new Multicast(
    NETLINK_NETFILTER,
    [NFNLGRP_NFTABLES],
    {
      onMessage: (message) => {
        const event = parse(message);
        if (event !== undefined) listener(event);
      },
      onOverflow: () => listener({ kind: 'resync' }),
    },
    options,
  );

const parse = ({ type, body }: Message): RuleEvent | undefined => {
  const what = GONE[(type & 0xff) as keyof typeof GONE];
  if (type >> 8 !== NFNL_SUBSYS_NFTABLES || what === undefined) return undefined;
  try {
    let table = '';
    eachAttribute(demand(body, 4), 4, (key, value) => {
      if (key === TABLE_NAME) table = readText(value);
    });
    return { kind: 'deleted', what, family: FAMILIES[body.readUInt8(0)] ?? '', table };
  } catch (error) {
    if (error instanceof MalformedMessage) return { kind: 'resync' };
    throw error;
  }
};
