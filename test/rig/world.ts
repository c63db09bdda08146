/** The namespace behind the router that plays the Internet (and an office with a way back into the VPC). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { GATEWAY4, HOSTS4, HOSTS6, OFFICE4, WORLD_GATEWAY4, WORLD_GATEWAY6, WORLD4, WORLD6 } from './addresses.ts';
import { until } from './command.ts';
import type { Machine } from './machine.ts';
import type { Router } from './router.ts';

/** One request that the world's servers saw. `client` is the source address as it arrived. */
export interface WorldRequest {
  readonly protocol: 'http' | 'tcp' | 'udp' | 'dns';
  readonly client: string;
  /** URL, datagram or DNS name. */
  readonly detail: string;
}

export class World {
  readonly machine: Machine;
  /** HTTP on 80, TCP and UDP echo on 7, DNS on 53. It has no way back to addresses outside the hosts' subnet. */
  readonly v4 = WORLD4;
  readonly v6 = WORLD6;
  /** The same servers; answers find their way back to every address that the router knows. */
  readonly office = OFFICE4;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  async start(router: Router): Promise<void> {
    await router.plugWorld(this.machine);
    await this.machine.ip([
      `address add ${WORLD4}/24 dev eth0`,
      `address add ${WORLD6}/64 dev eth0 nodad`,
      `address add ${OFFICE4}/32 dev lo`,
      'link set eth0 up',
      `route add ${HOSTS4} via ${WORLD_GATEWAY4}`,
      `route add ${HOSTS6} via ${WORLD_GATEWAY6}`,
      `rule add from ${OFFICE4} lookup 100`,
      `route add default via ${WORLD_GATEWAY4} table 100`,
    ]);
    const script = fileURLToPath(new URL('world-server.ts', import.meta.url));
    await this.machine.spawn([process.execPath, '--disable-warning=ExperimentalWarning', script], 'world.log');
  }

  /** Resolves when the servers answer. */
  async ready(): Promise<void> {
    await until('the servers of the world', () => this.#text().includes('"ready"'), { timeoutMs: 15_000 });
  }

  /** Every request so far, oldest first. */
  requests(): WorldRequest[] {
    return this.#text()
      .split('\n')
      .filter((line) => line.startsWith('{') && !line.includes('"ready"'))
      .map((line) => JSON.parse(line) as WorldRequest);
  }

  /** Address of the router as the hosts see it. */
  get gateway(): string {
    return GATEWAY4;
  }

  #text(): string {
    return readFileSync(path.join(this.machine.folder, 'world.log'), 'utf8');
  }
}
