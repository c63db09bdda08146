import { demand } from './attribute.ts';

/** Counters of a link, as IFLA_STATS64 has them. */
export interface LinkStats {
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
}

/** Throws MalformedMessage. */
export const parseStats = (value: Buffer): LinkStats => {
  demand(value, 64);
  const counter = (slot: number): bigint => value.readBigUInt64LE(slot * 8);
  return {
    rxPackets: counter(0),
    txPackets: counter(1),
    rxBytes: counter(2),
    txBytes: counter(3),
    rxDropped: counter(6),
    txDropped: counter(7),
  };
};
