import type { InstanceState, Target } from '../../shared/cloud/aws/model.ts';
import type { Ec2 } from '../../shared/cloud/aws/routes.ts';
import { type Context, now } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Fate } from './provider.ts';

interface Host {
  readonly instance: string;
  /** Name tag, private DNS name or id. */
  readonly name: string;
}

/** Targets that nobody knew are asked for again after so many milliseconds. */
const REASK_MS = 5 * 60_000;

/** What is on its way out may still have containers that talk. */
const FATES: Readonly<Record<InstanceState, Fate>> = {
  pending: 'alive',
  running: 'alive',
  stopping: 'alive',
  'shutting-down': 'alive',
  stopped: 'stopped',
  terminated: 'gone',
};

/** The machines that routes lead to: their names, each looked up once, and what became of them. */
export class AwsHosts {
  readonly #ec2: Pick<Ec2, 'call'>;
  /** By interface. */
  readonly #known = new Map<string, Host>();
  readonly #unknown = new Map<string, number>();
  #warned = false;

  constructor(ec2: Pick<Ec2, 'call'>) {
    this.#ec2 = ec2;
  }

  /** Looks up those that are not known yet, all with one call; without the permission they keep their ids. */
  async learn(targets: readonly Target[], c: Context): Promise<void> {
    const missing = targets.filter((target) => target.kind === 'interface' && !this.#isKnown(target));
    const interfaces = [...new Set(missing.map((target) => target.id))];
    if (interfaces.length === 0) return;
    for (const id of interfaces) this.#unknown.set(id, now());
    try {
      for (const instance of await this.#ec2.call('DescribeInstances', { interfaces }, c)) {
        const name = instance.name ?? instance.privateDnsName ?? instance.id;
        for (const id of instance.interfaces) {
          this.#known.set(id, { instance: instance.id, name });
          this.#unknown.delete(id);
        }
      }
    } catch (error) {
      const { code, message } = asPluginError(error);
      if (code !== 'PROVIDER_PERMISSION') throw error;
      if (!this.#warned) c.log.warn('hosts are called by their ids', { why: message });
      this.#warned = true;
    }
  }

  /** The name of the machine behind an interface; its id where that is not known. Machines of one name have their id added. */
  name(networkInterface: string): string {
    const host = this.#known.get(networkInterface);
    if (host === undefined) return networkInterface;
    const isShared = [...this.#known.values()].some(
      ({ name, instance }) => name === host.name && instance !== host.instance,
    );
    return isShared ? `${host.name} (${host.instance})` : host.name;
  }

  /** Errors: PROVIDER_*. */
  async fate(target: string, c: Context): Promise<Fate> {
    if (target.startsWith('i-')) return (await this.#fateOfInstance(target, c)) ?? 'gone';
    if (!target.startsWith('eni-')) return 'unknown';
    const [found] = await this.#ec2.call('DescribeNetworkInterfaces', { ids: [target] }, c);
    if (found === undefined) return 'gone';
    // One without a machine can be given to the next.
    if (found.instance === undefined) return 'stopped';
    return (await this.#fateOfInstance(found.instance, c)) ?? 'unknown';
  }

  /** Undefined when there is no such instance. */
  async #fateOfInstance(id: string, c: Context): Promise<Fate | undefined> {
    const [found] = await this.#ec2.call('DescribeInstances', { ids: [id] }, c);
    return found === undefined ? undefined : (FATES[found.state] ?? 'unknown');
  }

  #isKnown(target: Target): boolean {
    const host = this.#known.get(target.id);
    // An interface may be given to another machine; a machine that is gone keeps its name.
    const moved = target.kind === 'interface' && target.instance !== undefined && target.instance !== host?.instance;
    if (host !== undefined && !moved) return true;
    const asked = this.#unknown.get(target.id);
    return asked !== undefined && now() - asked < REASK_MS;
  }
}
