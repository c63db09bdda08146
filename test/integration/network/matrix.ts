/** Everything that is shown of the `vpc` driver, on one engine: two hosts, etcd, a router that knows what is claimed. */
import t, { type Test } from 'tap';
import type { EngineVersion, Iptables } from '../../rig/packages.ts';
import { Cluster } from '../support/cluster.ts';
import { addresses } from './addresses.ts';
import { compose } from './compose.ts';
import { connections } from './connections.ts';
import { creation } from './creation.ts';
import { dualStack } from './dual-stack.ts';
import { egress } from './egress.ts';
import { isolation } from './isolation.ts';
import { lifeCycle } from './life-cycle.ts';
import { mtu } from './mtu.ts';
import { names } from './names.ts';
import { ports } from './ports.ts';
import { reach } from './reach.ts';

/** A group of tests. What it makes it may leave: it is looked at, then taken away, and then nothing may be left. */
export type Theme = (t: Test, cluster: Cluster) => Promise<void>;

export const THEMES: Readonly<Record<string, Theme>> = {
  'who reaches whom': reach,
  'forms of docker network create': creation,
  'addresses by name': addresses,
  IPv6: dualStack,
  'several networks': connections,
  'sizes of packets': mtu,
  names: names,
  'the way out': egress,
  'published ports': ports,
  isolation: isolation,
  Compose: compose,
  // Last: it restarts an engine.
  'life of a container': lifeCycle,
};

/** Runs the themes (all of them by default), one after the other, in one cluster. */
export function matrix(engine: EngineVersion, iptables: Iptables, themes = Object.keys(THEMES)): void {
  t.setTimeout(540_000);
  t.test(`engine ${engine}, iptables-${iptables}`, async (t) => {
    const cluster = await Cluster.for(t, { engine, iptables, mtu: 9000 });
    for (const name of themes) {
      const theme = THEMES[name];
      if (theme === undefined) throw new Error(`there is no theme ${name}`);
      await t.test(name, { timeout: 120_000 }, async (t) => {
        await theme(t, cluster);
        await t.test('at rest nothing is written', async (t) => {
          t.same(await cluster.writesAtRest(), []);
        });
        await t.test('nothing is left over', async (t) => {
          await cluster.clear();
          t.same(await cluster.leftoversInTheEnd(), []);
        });
      });
    }
  });
}
