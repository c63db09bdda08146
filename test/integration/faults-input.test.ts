// @timeout 10m
// Bad input to `docker network create` and `docker run`: the sentence in the terminal says what was wrong and what to
// do, and nothing is changed by it. On every engine, with the provider `host`.
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type IPAM_OPTIONS, NETWORK_OPTIONS } from '../../network-plugin/options.ts';
import { ENGINES } from '../rig/packages.ts';
import { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(600_000);

const VPC = ['--ipam-driver', 'vpc'];

/** `docker network create -d vpc …`, which is expected to fail. */
const create = (on: Member, ...args: string[]) => on.docker('network', 'create', '-d', 'vpc', ...args, 'refused');

/** An address that was released at the beginning: the end of its rest, and nothing else, may fall into any of these. */
const RESTING = /^state addresses\/.*\|10\.64\.2\.2$/;
const NOTHING = /^$/;

/** Runs `work` and asserts that links, routes, firewall and state are what they were, but for what ends by itself. */
async function changesNothing(t: Test, on: Member, work: () => Promise<void>, ending = RESTING): Promise<void> {
  const [before, pid] = [await on.leftovers(), on.plugin.pid()];
  await work();
  const after = await on.leftovers();
  const expected = before.filter((line) => after.includes(line) || !ending.test(line));
  t.same(after, expected, 'nothing was changed');
  t.equal(on.plugin.pid(), pid, 'the plugin went on');
  t.notMatch(await on.must('network', 'ls', '--format', '{{.Name}}'), /refused/, 'no network is left');
}

for (const engine of ENGINES) {
  t.test(`engine ${engine}`, async (t) => {
    const cluster = await Cluster.for(t, { hosts: 1, engine, provider: 'host' });
    const on = cluster.member(1);
    const rest = await exhaustedAddresses(t, on);
    await overlaps(t, on);
    await localPrefixes(t, on);
    await unknownOptions(t, on);
    // Options are read by the plugin alone: on older engines one value of each shows that the sentence gets through.
    await badValues(t, on, engine === '28');
    await badAddresses(t, on);
    await exhaustedPool(t, on);
    // Waiting for the end of the rest is for one engine: it is the plugin's own clock.
    if (engine === '28') await rested(t, on, rest);

    await t.test('in the end nothing is left over, and the plugin never ended', async (t) => {
      const names = (await on.must('network', 'ls', '-qf', 'driver=vpc')).split('\n').filter((id) => id !== '');
      await on.must('network', 'rm', ...names);
      t.same(await on.leftovers(), []);
      t.equal(on.plugin.log().filter((line) => /listening.*vpc\.sock/.test(line)).length, 2, 'it started once');
      t.notMatch(on.plugin.log().join('\n'), /INTERNAL/);
    });
  });
}

async function overlaps(t: Test, on: Member): Promise<void> {
  await t.test('pools that overlap a network of this host are refused', async (t) => {
    await on.createNetwork('first', ...VPC, '--subnet', '10.64.3.0/24');
    const id = (await on.must('network', 'inspect', '-f', '{{.Id}}', 'first')).slice(0, 12);
    await changesNothing(t, on, async () => {
      refused(
        t,
        await create(on, ...VPC, '--subnet', '10.64.3.128/25'),
        'PREFIX_OVERLAP',
        '10.64.3.128/25',
        '10.64.3.0/24',
        `network ${id}`,
      );
      refused(
        t,
        await create(on, '--subnet', '10.64.3.64/26'),
        'PREFIX_OVERLAP',
        '10.64.3.64/26',
        '10.64.3.0/24',
        `network ${id}`,
      );
      refused(t, await create(on, '--subnet', '10.64.0.0/16'), 'PREFIX_OVERLAP', '10.64.0.0/16', 'of this host');
    });
  });

  await t.test('a subnet or range outside of the pool that was named is refused', async (t) => {
    await changesNothing(t, on, async () => {
      const outside = await create(on, ...VPC, '--ipam-opt', 'pool=10.80.0.0/16', '--subnet', '10.64.9.0/24');
      refused(t, outside, 'POOL_INVALID', '10.80.0.0/16', '10.64.9.0/24');
    });
  });
}

async function localPrefixes(t: Test, on: Member): Promise<void> {
  await t.test("a subnet that covers the host's own or the rack's addresses is refused", async (t) => {
    await changesNothing(t, on, async () => {
      for (const ipam of [VPC, []]) {
        refused(
          t,
          await create(on, ...ipam, '--subnet', '10.250.0.0/24'),
          'PREFIX_IS_LOCAL',
          '10.250.0.0/24',
          'the subnet of eth0 (address 10.250.0.11)',
        );
        refused(
          t,
          await create(on, ...ipam, '--subnet', '10.250.0.64/26'),
          'PREFIX_IS_LOCAL',
          '10.250.0.64/26',
          'eth0',
        );
      }
    });
  });

  await t.test('a subnet of a Docker bridge is refused', async (t) => {
    await on.must('network', 'create', '--subnet', '172.30.0.0/16', 'bridged');
    await changesNothing(t, on, async () => {
      refused(
        t,
        await create(on, ...VPC, '--subnet', '172.17.4.0/24'),
        'PREFIX_IS_LOCAL',
        '172.17.4.0/24',
        'docker0 (address 172.17.0.1)',
      );
      refused(t, await create(on, ...VPC, '--subnet', '172.30.0.0/24'), 'PREFIX_IS_LOCAL', '172.30.0.0/24', 'br-');
    });
    await on.must('network', 'rm', 'bridged');
  });

  await t.test('a subnet to which the host has a route already is refused', async (t) => {
    await on.host.must(['ip', 'route', 'add', '10.99.0.0/16', 'via', '10.250.0.1']);
    await changesNothing(t, on, async () => {
      refused(
        t,
        await create(on, ...VPC, '--subnet', '10.99.7.0/24'),
        'ROUTE_CONFLICT',
        '10.99.7.0/24',
        '10.99.0.0/16 via 10.250.0.1',
      );
    });
    t.match(
      await on.host.must(['ip', 'route', 'show', '10.99.0.0/16']),
      /via 10\.250\.0\.1/,
      'that route is untouched',
    );
    await on.host.must(['ip', 'route', 'del', '10.99.0.0/16']);
  });
}

async function unknownOptions(t: Test, on: Member): Promise<void> {
  await t.test('an unknown option is refused, and the nearest one is offered', async (t) => {
    await changesNothing(t, on, async () => {
      refused(
        t,
        await create(on, ...VPC, '-o', 'mut=1400'),
        'OPTION_UNKNOWN',
        'network option "mut"',
        'did you mean "mtu"?',
      );
      refused(t, await create(on, ...VPC, '-o', 'masqerade=off'), 'OPTION_UNKNOWN', 'did you mean "masquerade"?');
      refused(
        t,
        await create(on, ...VPC, '--ipam-opt', 'prefx=25'),
        'OPTION_UNKNOWN',
        'IPAM option "prefx"',
        'did you mean "prefix"?',
      );
      refused(t, await create(on, ...VPC, '-o', 'zzz=1'), 'OPTION_UNKNOWN', ...Object.keys(NETWORK_OPTIONS));
    });
    const { stderr } = await create(on, ...VPC, '-o', 'nonsense=1');
    t.ok(
      on.plugin.log().some((line) => line.includes(requestIn(stderr))),
      "the plugin's log knows the request by the id shown",
    );
  });
}

const BAD_NETWORK_OPTIONS: Record<keyof typeof NETWORK_OPTIONS, readonly string[]> = {
  mtu: ['big', '100', '-1', '1400.5'],
  masquerade: ['maybe'],
  ingress: ['all'],
  allow: ['banana', '10.80.0.0/33', '10.80.0.0/12,x'],
  roaming: ['banana', '10.64.200.7/24'],
};

const BAD_IPAM_OPTIONS: Record<keyof typeof IPAM_OPTIONS, readonly string[]> = {
  pool: ['banana', '10.64.0.5/12', 'fd64::/48'],
  prefix: ['x', '33'],
  pool6: ['10.80.0.0/12'],
  prefix6: ['200'],
};

/** The id that the user was shown. */
const requestIn = (text: string): string => /\[req (\w+)\]/.exec(text)?.[1] ?? 'no request id';

async function badValues(t: Test, on: Member, all: boolean): Promise<void> {
  await t.test('a bad value of any option is refused with what is allowed', async (t) => {
    await changesNothing(t, on, async () => {
      for (const [flag, table] of [
        ['-o', BAD_NETWORK_OPTIONS],
        ['--ipam-opt', BAD_IPAM_OPTIONS],
      ] as const) {
        for (const [option, values] of Object.entries(table)) {
          for (const value of all ? values : values.slice(0, 1)) {
            const outcome = await create(on, ...VPC, flag, `${option}=${value}`);
            refused(t, outcome, 'OPTION_INVALID', `${option}=${value}`, 'Allowed: ');
          }
        }
      }
    });
  });
}

async function badAddresses(t: Test, on: Member): Promise<void> {
  await t.test('a gateway or an address kept for other uses that lies outside is refused', async (t) => {
    await changesNothing(t, on, async () => {
      // Newer engines look themselves, and say it in their own words.
      for (const args of [
        ['--gateway', '10.64.5.1'],
        ['--aux-address', 'printer=10.64.5.9'],
      ]) {
        const outcome = await create(on, ...VPC, '--subnet', '10.64.4.0/24', ...args);
        t.equal(outcome.code, 1, outcome.stderr.trim());
        t.match(
          outcome.stderr,
          /ADDRESS_OUTSIDE: 10\.64\.5\.\d is not in 10\.64\.4\.0\/24|no matching subnet|not (with)?in|not belong/i,
        );
      }
    });
  });

  await t.test('an address that is taken, or that no container may have, is refused', async (t) => {
    await on.box('holder', '--network', 'first', '--ip', '10.64.3.9');
    const attempt = (ip: string) =>
      on.docker('run', '--rm', '--name', 'refused', '--network', 'first', '--ip', ip, IMAGE, 'true');
    await changesNothing(t, on, async () => {
      refused(t, await attempt('10.64.3.9'), 'ADDRESS_IN_USE', '10.64.3.9', 'endpoint ');
      refused(t, await attempt('10.64.3.1'), 'ADDRESS_IN_USE', '10.64.3.1', 'gateway');
      refused(t, await attempt('10.64.3.255'), 'ADDRESS_OUTSIDE', '10.64.3.255');
    });
    t.ok(await on.pings(undefined, '10.64.3.9'), 'who had the address still answers');
    await on.remove('holder');
  });
}

async function exhaustedPool(t: Test, on: Member): Promise<void> {
  await t.test('a pool without a free prefix says how many there are', async (t) => {
    const small = [...VPC, '--ipam-opt', 'pool=10.81.0.0/23', '--ipam-opt', 'prefix=24'];
    for (const name of ['small1', 'small2']) await on.createNetwork(name, ...small);
    await changesNothing(t, on, async () => {
      refused(
        t,
        await create(on, ...small),
        'POOL_EXHAUSTED',
        '10.81.0.0/23',
        'prefix of length /24',
        'room for 2',
        '2 are held',
      );
    });
    await on.must('network', 'rm', 'small1');
    await on.createNetwork('small1', ...small);
  });
}

/** Answers when the only address of the network `tiny` was released. */
async function exhaustedAddresses(t: Test, on: Member): Promise<number> {
  let released = 0;
  await t.test('a network without a free address says so; a released address rests for 30 s', async (t) => {
    // .1 is the gateway, .2 the only one for containers.
    await on.createNetwork('tiny', ...VPC, '--subnet', '10.64.2.0/30');
    await on.box('only', '--network', 'tiny');
    const another = () => on.docker('run', '--rm', '--name', 'refused', '--network', 'tiny', IMAGE, 'true');
    await changesNothing(
      t,
      on,
      async () => {
        refused(t, await another(), 'POOL_EXHAUSTED', '10.64.2.0/30 has no free address left');
      },
      NOTHING,
    );
    await on.remove('only');
    released = performance.now();
    await changesNothing(
      t,
      on,
      async () => {
        refused(t, await another(), 'POOL_EXHAUSTED', '10.64.2.0/30', '1 of them may be used again 30 s after');
      },
      NOTHING,
    );
  });
  return released;
}

async function rested(t: Test, on: Member, released: number): Promise<void> {
  await t.test('after its rest the address is given out again', async (t) => {
    await sleep(Math.max(0, released + 31_000 - performance.now()));
    await on.box('only', '--network', 'tiny');
    t.equal(await on.address('only'), '10.64.2.2');
    await on.remove('only');
  });
}
