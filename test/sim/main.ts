/** `npm run sim -- aws`: a simulated cloud to play with, or (`--child`) one for a rig in another process. */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { CLOUDS, type CloudConfig, type CloudName, type SimulatedCloud, type Site, startCloud } from './clouds.ts';
import type { Credential } from './core/credentials.ts';

/** The volume plugin's provider of each cloud's disks. */
const DISKS: Readonly<Record<CloudName, string>> = { aws: 'ebs', aliyun: 'aliyun-disk' };

const USAGE = `usage: npm run sim -- ${CLOUDS.join('|')} [options]
  --hosts N       running instances in the VPC (3)
  --lag MS        time until a write shows in reads (0)
  --no-limits     without the real cloud's rate limits
  --region NAME   the region
  --port PORT     first of three ports: API, metadata, control (any free ones)
  --host ADDRESS  where to listen (127.0.0.1)
  --json          print one line of JSON and nothing else
`;

const number = (option: string, text: string, least: number, most: number): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new Error(`--${option} ${text}: choose a number from ${least} to ${most}.`);
  }
  return value;
};

/** Resolves when somebody wants this process to end. */
const untilEnd = (more?: Promise<void>): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
    more?.then(resolve);
  });

/** Reads one line of configuration, says where everything is in one line, and lives as long as standard input. */
async function child(name: CloudName): Promise<void> {
  const lines = createInterface(process.stdin);
  const closed = new Promise<void>((resolve) => lines.once('close', () => resolve()));
  const config = await new Promise<CloudConfig>((resolve, reject) => {
    lines.once('line', (line) => resolve(JSON.parse(line) as CloudConfig));
    closed.then(() => reject(new Error('standard input ended before the configuration')));
  });
  const end = untilEnd(closed);
  const cloud = await startCloud(name, config);
  process.stdout.write(`${JSON.stringify(cloud.info)}\n`);
  await end;
  await cloud.close();
}

const shellWord = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** What to paste so that the vendor's own tools talk to the simulator. */
const environmentOf = (cloud: SimulatedCloud, key: Credential): Record<string, string> =>
  cloud.name === 'aws'
    ? { ...cloud.info.environment, AWS_ACCESS_KEY_ID: key.id, AWS_SECRET_ACCESS_KEY: key.secret }
    : {
        ALIBABA_CLOUD_ACCESS_KEY_ID: key.id,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET: key.secret,
        ALIBABA_CLOUD_REGION_ID: cloud.info.region,
      };

const examples = (cloud: SimulatedCloud, site: Site): string[] => {
  const { metadataEndpoint } = cloud.info;
  const target = site.hosts[0]?.target ?? '';
  if (cloud.name === 'aliyun') {
    return [
      `curl -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 60' ${metadataEndpoint}/latest/api/token`,
      `any SDK of the vendor with the endpoint ${cloud.info.endpoint}: CreateRouteEntry, RouteTableId ${site.table}, NextHopId ${target}`,
      `or CreateDisk, ZoneId ${cloud.info.region}-a, Size 20, DiskCategory cloud_essd; AttachDisk, InstanceId ${target}; DescribeDisks`,
    ];
  }
  // Older commands do not know AWS_ENDPOINT_URL.
  const aws = 'aws --endpoint-url "$AWS_ENDPOINT_URL"';
  return [
    `${aws} ec2 describe-route-tables`,
    `${aws} ec2 create-route --route-table-id ${site.table} --destination-cidr-block 10.64.3.0/24 --network-interface-id ${target}`,
    `${aws} ec2 create-volume --availability-zone ${cloud.info.region}a --size 10 --volume-type gp3`,
    `${aws} ec2 describe-volumes`,
    `${aws} service-quotas get-service-quota --service-code vpc --quota-code L-93826ACB`,
    `curl -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${metadataEndpoint}/latest/api/token`,
  ];
};

const section = (title: string, lines: readonly string[]): string =>
  `\n${title}\n${lines.map((line) => `  ${line}\n`).join('')}`;

const describe = (cloud: SimulatedCloud, site: Site, key: Credential): string => {
  const { endpoint, metadataEndpoint, control, region } = cloud.info;
  const settings = [
    `PROVIDER=${cloud.name}`,
    `REGION=${region}`,
    `CLOUD_ENDPOINT=${endpoint}`,
    `METADATA_ENDPOINT=${metadataEndpoint}`,
  ];
  const hosts = site.hosts.slice(0, 20).map(({ name, address, instance, target }) => {
    return `${name.padEnd(9)} ${address.padEnd(15)} ${instance}${target === instance ? '' : ` ${target}`}`;
  });
  return [
    section(`A simulated ${cloud.name} is up in ${region}; Ctrl-C ends it.`, [
      `API       ${endpoint}`,
      `metadata  ${metadataEndpoint}  (takes an unknown caller for ${site.hosts[0]?.name ?? 'nobody'})`,
      `control   ${control}/_sim/`,
    ]),
    section(`VPC ${site.vpc}, subnet ${site.subnet}, route table ${site.table}`, hosts),
    section(
      'For a shell:',
      Object.entries(environmentOf(cloud, key)).map(([name, value]) => `export ${name}=${shellWord(value)}`),
    ),
    section('Then, for instance:', examples(cloud, site)),
    section('As the cloud of the plugins (before they are enabled):', [
      `docker plugin set drayage/network ${settings.join(' ')}`,
      `docker plugin set cloudvol ${[`PROVIDER=${DISKS[cloud.name]}`, ...settings.slice(1)].join(' ')}`,
    ]),
    section('To disturb it, and to see what it was asked:', [
      `curl -d '{"action": "CreateRoute*", "fault": {"kind": "lose-reply"}}' ${control}/_sim/faults`,
      `curl -d '{"fault": {"kind": "unavailable"}, "forMs": 60000}' ${control}/_sim/faults`,
      `curl ${control}/_sim/calls`,
      `curl ${control}/_sim/routes`,
    ]),
    '\n',
  ].join('');
};

async function serve(name: CloudName, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: 'string', default: '3' },
      lag: { type: 'string', default: '0' },
      limits: { type: 'boolean', default: true },
      region: { type: 'string' },
      port: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      json: { type: 'boolean', default: false },
    },
    allowNegative: true,
  });
  // Before anything is said: who reads it may send a signal at once.
  const end = untilEnd();
  const { host } = values;
  const hosts = number('hosts', values.hosts, 1, 4000);
  const port = values.port === undefined ? undefined : number('port', values.port, 1, 65_533);
  const at = (offset: number) => ({ host, ...(port === undefined ? {} : { port: port + offset }) });
  const cloud = await startCloud(name, {
    lagMs: number('lag', values.lag, 0, 600_000),
    ...(values.limits ? {} : { rates: {} }),
    ...(values.region === undefined ? {} : { region: values.region }),
    api: at(0),
    metadata: at(1),
    control: at(2),
  });
  const key = cloud.key();
  const site = cloud.furnish(hosts);
  process.stdout.write(values.json ? `${JSON.stringify({ ...cloud.info, key, site })}\n` : describe(cloud, site, key));
  await end;
  await cloud.close();
}

const [name = '', ...args] = process.argv.slice(2);
const cloud = CLOUDS.find((each) => each === name);
try {
  if (cloud === undefined) {
    process.stderr.write(USAGE);
    process.exitCode = name === '--help' ? 0 : 2;
  } else if (args.includes('--child')) await child(cloud);
  else await serve(cloud, args);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exitCode = 1;
  // A child that waits for its configuration would wait for ever.
  process.stdin.destroy();
}
