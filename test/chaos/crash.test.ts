// @timeout 10m
// The plugin dies at every step of its journal, before the step is begun and right after it is durable, while Docker
// creates and removes networks and containers. How many steps there are is found out: each command is repeated with a
// later death until it outlives them all.
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Cluster } from '../integration/support/cluster.ts';
import { IMAGE, type Member } from '../integration/support/member.ts';
import { type Outcome, until } from '../rig/command.ts';
import { collect, holdings, starts, stateFolder, untilRestarted } from './support/holdings.ts';
import { mortalPlugin } from './support/image.ts';
import { armKill, disarmKill, type KillPoint } from './support/kill-point.ts';

t.setTimeout(600_000);

/** More steps than any one command has: a loop that does not end is an error. */
const MOST_STEPS = 40;

/** A docker command, and how a person would go on when it has failed. */
interface Step {
  readonly name: string;
  readonly command: readonly string[];
  /** Before the command is repeated. */
  readonly clear?: readonly string[];
  /** Throws or answers false when it has not done what it says. */
  readonly works: (member: Member) => Promise<boolean>;
}

/** Two commands of which the second undoes the first. */
interface Pair {
  readonly name: string;
  readonly prepare: readonly (readonly string[])[];
  readonly forth: Step;
  readonly back: Step;
  readonly clear: readonly (readonly string[])[];
  /** A call that was lost before its first step was never made, for all that the plugin can know; the next round shows that what it should have removed is in nobody's way. */
  readonly forgets?: boolean;
}

/** One host with its own way of dying and its own IPAM driver. */
interface Round {
  readonly when: KillPoint['when'];
  readonly engine: '20' | '26' | '28';
  readonly ipam: readonly string[];
}

const VPC = ['--ipam-driver', 'vpc'];
const ROUNDS: readonly Round[] = [
  { when: 'before', engine: '28', ipam: VPC },
  { when: 'after', engine: '28', ipam: VPC },
  { when: 'before', engine: '20', ipam: ['--subnet', '10.70.3.0/24'] },
  { when: 'after', engine: '26', ipam: ['--subnet', '10.70.4.0/24'] },
];

const gone = async (): Promise<boolean> => true;

const httpd = ['httpd', '-f', '-h', '/www'];

/** An address that roams: its claim is one step more, and nobody else could have it as long as it is left behind. */
function roaming({ when }: Round): Pair {
  const address = when === 'before' ? '10.64.200.7' : '10.64.200.8';
  const run = ['run', '-d', '--name', 'rr', '--network', 'pool', '--ip', address, IMAGE, ...httpd];
  return {
    name: 'run --ip and rm -f, with a roaming address',
    prepare: [['network', 'create', '-d', 'vpc', ...VPC, '--subnet', '10.64.0.0/12', 'pool']],
    forth: {
      name: 'run --ip',
      command: run,
      clear: ['rm', '-f', 'rr'],
      works: async (member) => (await member.whoamiFromHost(address)) !== '',
    },
    back: { name: 'rm -f', command: ['rm', '-f', 'rr'], works: gone },
    clear: [['network', 'rm', 'pool']],
  };
}

function pairs(round: Round, cluster: Cluster): readonly Pair[] {
  const { ipam } = round;
  const run = ['run', '-d', '--name', 'cc', '-p', '8081:80', '--network', 'n', IMAGE, ...httpd];
  const create = ['network', 'create', '-d', 'vpc', ...ipam, 'n'];
  const served = async (member: Member): Promise<boolean> =>
    (await cluster.whoamiFromWorld(`${member.host.v4}:8081`)) !== '';
  const onSecond = async (member: Member): Promise<boolean> =>
    await member.pings('left', await member.address('cc', 'steady'));
  return [
    {
      name: 'network create and rm',
      prepare: [],
      forth: {
        name: 'network create',
        command: create,
        works: async (m) => (await m.docker('network', 'inspect', 'n')).code === 0,
      },
      back: { name: 'network rm', command: ['network', 'rm', 'n'], works: gone },
      clear: [],
      forgets: ipam !== VPC,
    },
    {
      name: 'run -p and rm -f',
      prepare: [create],
      forth: { name: 'run', command: run, clear: ['rm', '-f', 'cc'], works: served },
      back: { name: 'rm -f', command: ['rm', '-f', 'cc'], works: gone },
      clear: [],
    },
    {
      name: 'start and stop',
      prepare: [['create', ...run.slice(2)]],
      forth: { name: 'start', command: ['start', 'cc'], works: served },
      back: { name: 'stop', command: ['stop', '-t', '0', 'cc'], works: gone },
      clear: [],
    },
    {
      name: 'network connect and disconnect',
      prepare: [['start', 'cc']],
      forth: { name: 'network connect', command: ['network', 'connect', 'steady', 'cc'], works: onSecond },
      back: { name: 'network disconnect', command: ['network', 'disconnect', 'steady', 'cc'], works: served },
      clear: [
        ['rm', '-f', 'cc'],
        ['network', 'rm', 'n'],
      ],
    },
    ...(ipam === VPC ? [roaming(round)] : []),
  ];
}

/** Runs the command with the plugin dying at step `at` of it. Resolves with whether it came to that. */
async function dieAt(t: Test, member: Member, step: Step, at: number, when: KillPoint['when']): Promise<boolean> {
  const what = `${step.name}, killed ${when} step ${at}`;
  const before = starts(member);
  armKill(stateFolder(member), at, when);
  const outcome = await member.docker(...step.command);
  const died = !disarmKill(stateFolder(member));
  if (died) await untilRestarted(member, before);
  if (outcome.code !== 0) {
    if (!died) t.fail(`${step.name}: ${outcome.stderr}`);
    t.ok(isClear(outcome), `${what}: the error says what is the matter: ${outcome.stderr.trim()}`);
    if (step.clear !== undefined) await member.must(...step.clear);
    await member.must(...step.command);
  }
  if (died) t.comment(`${what}: exit ${outcome.code} after ${Math.round(outcome.ms)} ms ${outcome.stderr.trim()}`);
  // A server needs a moment after `docker start` has returned.
  const works = await until(what, () => step.works(member), { timeoutMs: 8_000 }).catch(() => false);
  t.ok(works, `${what}: it works`);
  return died;
}

/** The plugin's own words, or the engine's about the plugin; no stack. */
function isClear({ stderr }: Outcome): boolean {
  return /repeat the command|plugin/i.test(stderr) && !/\n\s+at /.test(stderr);
}

async function dieEverywhere(t: Test, member: Member, pair: Pair, when: KillPoint['when']): Promise<number> {
  for (const command of pair.prepare) await member.must(...command);
  const before = await holdings(member);
  const neighbour = await member.address('right');
  let deaths = 0;
  let [forth, back] = [true, true];
  for (let at = 1; forth || back; at += 1) {
    if (at > MOST_STEPS) throw new Error(`${pair.name} has more than ${MOST_STEPS} steps`);
    if (forth) forth = await dieAt(t, member, pair.forth, at, when);
    else await member.must(...pair.forth.command);
    t.ok(await member.pings('left', neighbour), `containers that run still talk (step ${at})`);
    if (back) back = await dieAt(t, member, pair.back, at, when);
    else await member.must(...pair.back.command);
    t.ok(await member.pings('left', neighbour), `containers that run still talk (back, step ${at})`);
    const found = await collect(member);
    if (found.length > 0) t.comment(`step ${at}: collected ${found.join('; ')}`);
    const forgotten = pair.forgets === true && when === 'before' && at === 1;
    if (!forgotten) t.same(await holdings(member), before, `${pair.name}, killed ${when} step ${at}: nothing is left`);
    deaths += Number(forth) + Number(back);
  }
  for (const command of pair.clear) await member.must(...command);
  return deaths;
}

t.test('killed at every step', async (t) => {
  const cluster = await Cluster.for(t, {
    hosts: ROUNDS.length,
    engine: ROUNDS.map(({ engine }) => engine),
    folder: mortalPlugin(),
  });
  await Promise.all(
    cluster.members.map(async (member) => {
      await member.createNetwork('steady', ...VPC);
      await member.serve('left', '--network', 'steady', '-p', '8080:80');
      await member.box('right', '--network', 'steady');
    }),
  );
  t.jobs = ROUNDS.length;
  await Promise.all(
    ROUNDS.map(async (round, index) => {
      const member = cluster.member(index + 1);
      await t.test(
        `${round.when} the step, on ${round.engine} with ${round.ipam[0]}`,
        { buffered: true },
        async (t) => {
          for (const pair of pairs(round, cluster)) {
            const started = performance.now();
            const deaths = await dieEverywhere(t, member, pair, round.when);
            t.comment(`${pair.name}: ${deaths} deaths in ${((performance.now() - started) / 1000).toFixed(1)} s`);
            t.ok(deaths >= 4, `${pair.name}: the plugin died ${deaths} times`);
            t.not(await cluster.whoamiFromWorld(`${member.host.v4}:8080`), '', 'the port that was published is served');
          }
        },
      );
    }),
  );
  await Promise.all(
    ROUNDS.map(({ engine }, index) =>
      t.test(`killed at any time, on ${engine}`, { buffered: true }, async (t) => {
        await dieAtRandom(t, cluster, cluster.member(index + 1));
      }),
    ),
  );
});

/** Deaths of each host at times that nobody chose. */
const RANDOM_DEATHS = 6;
/** The longest life of the plugin after the engine has seen it again, in milliseconds. */
const LONGEST_LIFE_MS = 1_200;

/** SIGKILL from outside while a container comes and goes, again and again. */
async function dieAtRandom(t: Test, cluster: Cluster, member: Member): Promise<void> {
  await member.must('network', 'create', '-d', 'vpc', ...VPC, 'n');
  const before = await holdings(member);
  let deaths = 0;
  const killing = (async () => {
    for (; deaths < RANDOM_DEATHS; deaths += 1) {
      await sleep(Math.random() * LONGEST_LIFE_MS);
      const seen = starts(member);
      await member.plugin.kill9();
      await untilRestarted(member, seen);
    }
  })();
  const neighbour = await member.address('right');
  const deaf: string[] = [];
  let failures = 0;
  while (deaths < RANDOM_DEATHS) {
    const run = await member.docker('run', '-d', '--name', 'cc', '-p', '8081:80', '--network', 'n', IMAGE, ...httpd);
    failures += Number(run.code !== 0);
    for (const command of [
      ['stop', '-t', '0', 'cc'],
      ['start', 'cc'],
      ['rm', '-f', 'cc'],
    ]) {
      const outcome = await member.docker(...command);
      failures += Number(outcome.code !== 0);
      if (outcome.code !== 0 && !isClear(outcome)) t.fail(`${command.join(' ')}: ${outcome.stderr}`);
    }
    if (run.code !== 0 && !isClear(run)) t.fail(`run: ${run.stderr}`);
    if (!(await member.pings('left', neighbour))) deaf.push(`after ${deaths} deaths`);
  }
  await killing;
  t.comment(`${deaths} deaths, ${failures} commands failed`);
  t.same(deaf, [], 'containers that run still talk');
  t.not(await cluster.whoamiFromWorld(`${member.host.v4}:8080`), '', 'the port that was published is served');
  await member.docker('rm', '-f', 'cc');
  await collect(member);
  t.same(await holdings(member), before, 'nothing is left');
  await member.must('run', '--rm', '-p', '8081:80', '--network', 'n', IMAGE, 'true');
  await member.must('network', 'rm', 'n');
}
