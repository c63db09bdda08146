// @timeout 15m
import t from 'tap';
import { awsWorld } from '../unit/network-plugin/route/aws-world.ts';
import { type LivePlace, liveHosts } from './aws-live.ts';
import { routeProviderConformance } from './route-provider.ts';

t.setTimeout(14 * 60_000);

/** DRAYAGE_LIVE_AWS=vpc-…: that VPC of a real account; else a simulator, so that this way to it stays passable. */
const { DRAYAGE_LIVE_AWS: vpc, AWS_REGION: region, AWS_ENDPOINT_URL: endpoint, AWS_SESSION_TOKEN: token } = process.env;
const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env;

t.test(vpc === undefined ? 'a VPC of the simulator' : `${vpc} of a real account`, async (t) => {
  const place = async (): Promise<LivePlace> => {
    if (vpc === undefined) {
      const { sim, vpc } = await awsWorld(t, 3);
      return { vpc, region: sim.region, endpoint: sim.endpoint, key: sim.key(), settleMs: 300 };
    }
    if (region === undefined || id === undefined || secret === undefined) {
      throw new Error('set AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)');
    }
    const key = { id, secret, ...(token !== undefined && { token }) };
    return { vpc, region, key, ...(endpoint !== undefined && { endpoint }) };
  };
  const hosts = await liveHosts(t, await place());
  if (hosts.count === 0) throw new Error('no instance is running there');
  await routeProviderConformance(t, { single: hosts.count < 2, hosts: hosts.count }, hosts.make);
});
