/** Simulated object stores beside a rig's hosts: strict about signatures, and with faults to order. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SimControl } from '../sim/core/control-client.ts';
import { STORE_ADDRESS } from './addresses.ts';
import { until } from './command.ts';
import type { Rig } from './rig.ts';

const PORT = 9000;
const KEY = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const REGIONS = { s3: 'eu-central-1', oss: 'cn-hangzhou' } as const;

export interface RigStoreOptions {
  /** S3 by default. */
  readonly speaks?: keyof typeof REGIONS;
  /** One for each store of a rig; 9000 by default. */
  readonly port?: number;
  /** Paths of PEM files: HTTPS in the place of HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export class RigStore {
  readonly endpoint: string;
  readonly region: string;
  /** Works the simulator: faults, log of calls, clock. */
  readonly control: SimControl;

  private constructor(endpoint: string, region: string, control: SimControl) {
    this.endpoint = endpoint;
    this.region = region;
    this.control = control;
  }

  /** Starts one in the rig's router, without any bucket. It answers at all of the router's addresses, and `endpoint` is one of its own. */
  static async start(rig: Rig, { speaks = 's3', port = PORT, tls }: RigStoreOptions = {}): Promise<RigStore> {
    const { machine } = rig.router;
    await machine.ip([`address replace ${STORE_ADDRESS}/32 dev lo`]);
    const name = `${speaks}-${port}`;
    const socket = path.join(machine.folder, `${name}.sock`);
    const script = fileURLToPath(new URL(`../sim/${speaks}/main.ts`, import.meta.url));
    const endpoint = `${tls === undefined ? 'http' : 'https'}://${STORE_ADDRESS}:${port}`;
    const store = new RigStore(endpoint, REGIONS[speaks], new SimControl(socket));
    const options = ['--host', '::', '--port', String(port), '--control-socket', socket, '--json'];
    const place = ['--region', store.region, '--key', `${KEY.id}:${KEY.secret}`];
    const secure = tls === undefined ? [] : ['--tls-key', tls.key, '--tls-cert', tls.cert];
    await machine.spawn([process.execPath, script, ...options, ...place, ...secure], `${name}.log`);
    await until(`the simulated ${speaks}`, () => store.control.ask('GET', 'info').catch(() => undefined));
    return store;
  }

  /** Settings of the plugin, the same on every host, by which this is the usual store. */
  get settings(): Readonly<Record<string, string>> {
    return {
      ...{ OBJECT_BUCKET: 's3://assets', OBJECT_ENDPOINT: this.endpoint, REGION: this.region },
      OBJECT_VENDOR: 'aws',
      ...{ OBJECT_ACCESS_KEY_ID: KEY.id, OBJECT_ACCESS_KEY_SECRET: KEY.secret },
    };
  }
}
