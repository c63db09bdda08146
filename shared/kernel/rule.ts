import { demand, eachAttribute, type Message, type MessageWriter, readText, readU8, readU32 } from './attribute.ts';
import { type Family, packPrefix, unpackAddress } from './inet.ts';
import { NLM_F_CREATE, NLM_F_EXCL, type Request } from './netlink-request.ts';
import { RT_TABLE_MAIN, RTPROT_DRAYAGE } from './route.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/** Policy routing: which table is asked for which packets. Kernel source: net/core/fib_rules.c, linux/fib_rules.h. */

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_PROTOCOL = 21;
const FIB_RULE_INVERT = 2;
const BODY_SIZE = 12;

const ACTIONS = { table: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;
export type RuleAction = keyof typeof ACTIONS;
const actionNames = new Map(Object.entries(ACTIONS).map(([name, number]) => [number as number, name as RuleAction]));

export interface Rule {
  readonly family: Family;
  /** Lower is asked first. */
  readonly priority: number;
  /** `table` when absent. */
  readonly action?: RuleAction;
  /** Main (254) when absent. */
  readonly table?: number;
  /** CIDRs. */
  readonly from?: string;
  readonly to?: string;
  /** Names, with no wildcard. */
  readonly iif?: string;
  readonly oif?: string;
  readonly mark?: number;
  /** All bits when absent. */
  readonly markMask?: number;
  readonly not?: boolean;
  /** RTPROT_DRAYAGE when absent. */
  readonly protocol?: number;
}

export interface FoundRule extends Rule {
  readonly action: RuleAction;
  readonly table: number;
  readonly protocol: number;
}

const describe = (rule: Rule): string =>
  [
    `rule ${rule.priority}`,
    rule.from === undefined ? '' : ` from ${rule.from}`,
    rule.to === undefined ? '' : ` to ${rule.to}`,
    rule.iif === undefined ? '' : ` iif ${rule.iif}`,
    ` ${rule.action ?? 'table'}`,
    rule.action === undefined || rule.action === 'table' ? ` ${rule.table ?? RT_TABLE_MAIN}` : '',
  ].join('');

const write = (writer: MessageWriter, rule: Rule): void => {
  const action = rule.action ?? 'table';
  const table = action === 'table' ? (rule.table ?? RT_TABLE_MAIN) : 0;
  const side = (text: string | undefined): ReturnType<typeof packPrefix> | undefined => {
    if (text === undefined) return undefined;
    const prefix = packPrefix(text);
    if (prefix.family !== rule.family) throw new RangeError(`${text} is not of the rule's family`);
    return prefix;
  };
  const to = side(rule.to);
  const from = side(rule.from);
  writer.body(BODY_SIZE, (buffer, at) => {
    buffer.writeUInt8(rule.family, at);
    buffer.writeUInt8(to?.length ?? 0, at + 1);
    buffer.writeUInt8(from?.length ?? 0, at + 2);
    buffer.writeUInt8(table > 255 ? 252 : table, at + 4);
    buffer.writeUInt8(ACTIONS[action], at + 7);
    buffer.writeUInt32LE(rule.not === true ? FIB_RULE_INVERT : 0, at + 8);
  });
  if (to !== undefined) writer.raw(FRA_DST, to.address);
  if (from !== undefined) writer.raw(FRA_SRC, from.address);
  writer.u32(FRA_PRIORITY, rule.priority);
  if (table > 255) writer.u32(FRA_TABLE, table);
  if (rule.iif !== undefined) writer.text(FRA_IIFNAME, rule.iif);
  if (rule.oif !== undefined) writer.text(FRA_OIFNAME, rule.oif);
  if (rule.mark !== undefined) {
    writer.u32(FRA_FWMARK, rule.mark);
    writer.u32(FRA_FWMASK, rule.markMask ?? 0xffffffff);
  }
  writer.u8(FRA_PROTOCOL, rule.protocol ?? RTPROT_DRAYAGE);
};

/** EEXIST when an equal rule is there. */
export const addRule = (rule: Rule): Request => ({
  type: RTM_NEWRULE,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `add ${describe(rule)}`,
  write: (writer) => write(writer, rule),
});

/** Deletes the first rule that agrees with all that is given. ENOENT when none does. */
export const deleteRule = (rule: Rule): Request => ({
  type: RTM_DELRULE,
  flags: 0,
  what: `delete ${describe(rule)}`,
  write: (writer) => write(writer, rule),
});

/** The rules of one family; of one maker if asked. */
export const listRules = (
  rt: Rtnetlink,
  filter: { readonly family: Family; readonly protocol?: number },
): FoundRule[] =>
  rt
    .dump(
      {
        type: RTM_GETRULE,
        flags: 0,
        what: 'list the rules',
        write: (writer) =>
          writer.body(BODY_SIZE, (buffer, at) => {
            buffer.writeUInt8(filter.family, at);
          }),
      },
      (message) => (message.type === RTM_NEWRULE ? parseRule(message, filter.family) : undefined),
    )
    .filter((rule) => filter.protocol === undefined || rule.protocol === filter.protocol);

/** Undefined for actions that Drayage has no word for (goto, nop). */
const parseRule = (message: Message, family: Family): FoundRule | undefined => {
  const body = demand(message.body, BODY_SIZE);
  const action = actionNames.get(body.readUInt8(7));
  if (action === undefined) return undefined;
  const rule: { -readonly [K in keyof FoundRule]: FoundRule[K] } = {
    family,
    priority: 0,
    action,
    table: body.readUInt8(4),
    protocol: 0,
  };
  eachAttribute(body, BODY_SIZE, (type, value) => {
    if (type === FRA_DST) rule.to = `${unpackAddress(value)}/${body.readUInt8(1)}`;
    else if (type === FRA_SRC) rule.from = `${unpackAddress(value)}/${body.readUInt8(2)}`;
    else if (type === FRA_PRIORITY) rule.priority = readU32(value);
    else if (type === FRA_TABLE) rule.table = readU32(value);
    else if (type === FRA_IIFNAME) rule.iif = readText(value);
    else if (type === FRA_OIFNAME) rule.oif = readText(value);
    else if (type === FRA_FWMARK) rule.mark = readU32(value);
    else if (type === FRA_FWMASK) rule.markMask = readU32(value);
    else if (type === FRA_PROTOCOL) rule.protocol = readU8(value);
  });
  if ((body.readUInt32LE(8) & FIB_RULE_INVERT) !== 0) rule.not = true;
  return rule;
};
