/** A simulated S3 beside a rig's hosts: strict about signatures, and with faults to order. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SimControl } from '../sim/core/control-client.ts';
import { STORE_ADDRESS } from './addresses.ts';
import { until } from './command.ts';
import type { Rig } from './rig.ts';

const PORT = 9000;
const KEY = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };

export class RigStore {
  readonly endpoint = `http://${STORE_ADDRESS}:${PORT}`;
  readonly region = 'eu-central-1';
  /** Works the simulator: faults, log of calls, clock. */
  readonly control: SimControl;

  private constructor(control: SimControl) {
    this.control = control;
  }

  /** Starts it in the rig's router, without any bucket. */
  static async start(rig: Rig): Promise<RigStore> {
    const { machine } = rig.router;
    await machine.ip([`address add ${STORE_ADDRESS}/32 dev lo`]);
    const socket = path.join(machine.folder, 'store.sock');
    const script = fileURLToPath(new URL('../sim/s3/main.ts', import.meta.url));
    const store = new RigStore(new SimControl(socket));
    const options = ['--host', STORE_ADDRESS, '--port', String(PORT), '--control-socket', socket, '--json'];
    const place = ['--region', store.region, '--key', `${KEY.id}:${KEY.secret}`];
    await machine.spawn([process.execPath, script, ...options, ...place], 'store.log');
    await until('the simulated S3', () => store.control.ask('GET', 'info').catch(() => undefined));
    return store;
  }

  /** Settings of the plugin, the same on every host. */
  get settings(): Readonly<Record<string, string>> {
    return {
      ...{ OBJECT_BUCKET: 's3://assets', OBJECT_ENDPOINT: this.endpoint, REGION: this.region },
      OBJECT_VENDOR: 'aws',
      ...{ OBJECT_ACCESS_KEY_ID: KEY.id, OBJECT_ACCESS_KEY_SECRET: KEY.secret },
    };
  }
}
