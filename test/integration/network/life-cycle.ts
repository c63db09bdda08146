import type { Test } from 'tap';
import { until } from '../../rig/command.ts';
import type { Cluster } from '../support/cluster.ts';

/** What happens to containers, and that their network goes with them. */
export async function lifeCycle(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await one.serve('server', '--network', 'web', '-p', '8080:80', '--restart', 'always');
  await two.box('client', '--network', 'web');
  const client = await two.address('client');
  const serves = async (t: Test, why: string): Promise<void> => {
    await one.untilServes('server');
    t.equal(await two.whoami('client', await one.address('server')), client, why);
    t.equal(await two.whoamiFromHost(`${one.host.v4}:8080`), two.host.v4, 'by its published port too');
  };

  await t.test('restart, stop and start, pause and unpause, kill', async (t) => {
    await one.must('restart', '-t', '0', 'server');
    await serves(t, 'restarted');
    await one.must('stop', '-t', '0', 'server');
    t.same(
      (await one.leftovers()).filter((line) => /^link|^listener|any4/.test(line)),
      [],
      'a stopped container has no link and no port',
    );
    await one.must('start', 'server');
    await serves(t, 'started');
    await one.must('pause', 'server');
    await one.must('unpause', 'server');
    await serves(t, 'unpaused');
    const pid = Number(await one.must('inspect', '-f', '{{.State.Pid}}', 'server'));
    await one.host.must(['kill', '-9', String(pid)]);
    await until('the container after it was killed', async () => {
      const [now, running] = (await one.must('inspect', '-f', '{{.State.Pid}} {{.State.Running}}', 'server')).split(
        ' ',
      );
      return now !== String(pid) && running === 'true';
    });
    await serves(t, 'killed, and restarted by the engine');
  });

  await t.test('a connection under way lives on while other containers come and go', async (t) => {
    const ping = two.inside('client', 'ping', '-c', '15', '-i', '0.1', '-W', '1', await one.address('server'));
    for (const name of ['passing', 'passing-too']) {
      await one.box(name, '--network', 'web', '-p', '80');
      await one.remove(name);
    }
    t.match((await ping).stdout, /15 packets transmitted, 15 packets received/);
  });

  await t.test('the engine restarts: containers come back and are reached, also with FORWARD at DROP', async (t) => {
    const drop = async (): Promise<void> => {
      for (const program of ['iptables', 'ip6tables']) await one.host.must([program, '-P', 'FORWARD', 'DROP']);
    };
    await drop();
    await serves(t, 'after the policy was set');
    t.match(await one.host.must(['iptables', '-S', 'FORWARD']), /^-P FORWARD DROP/);
    await one.host.engine.restart();
    await until(
      'the container after the restart of the engine',
      async () => (await one.must('inspect', '-f', '{{.State.Running}}', 'server')) === 'true',
    );
    await drop();
    await serves(t, 'after the restart');
    const rules = await one.host.must(['iptables', '-S', 'FORWARD']);
    t.match(rules, /-j DRAYAGE-FORWARD/);
  });

  await t.test('rules of others in FORWARD stay as they are', async (t) => {
    await one.host.must(['iptables', '-I', 'FORWARD', '1', '-s', '198.51.100.7', '-j', 'DROP']);
    await one.createNetwork('more', '--ipam-driver', 'vpc');
    await one.reconcile();
    t.match(await one.host.must(['iptables', '-S', 'FORWARD']), '-A FORWARD -s 198.51.100.7/32 -j DROP');
    await serves(t, 'and do no harm');
    await one.host.must(['iptables', '-D', 'FORWARD', '-s', '198.51.100.7', '-j', 'DROP']);
  });
}
