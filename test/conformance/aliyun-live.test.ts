// @timeout 15m
import t from 'tap';
import { newWorld, QUICK } from '../unit/network-plugin/route/aliyun-world.ts';
import { type LivePlace, liveHosts } from './aliyun-live.ts';
import { routeProviderConformance } from './route-provider.ts';

t.setTimeout(14 * 60_000);

/** DRAYAGE_LIVE_ALIYUN=vpc-…: that VPC of a real account; else a simulator, so that this way to it stays passable. */
const { DRAYAGE_LIVE_ALIYUN: vpc, ALIBABA_CLOUD_REGION_ID: region, DRAYAGE_LIVE_ENDPOINT: endpoint } = process.env;
const {
  ALIBABA_CLOUD_ACCESS_KEY_ID: id,
  ALIBABA_CLOUD_ACCESS_KEY_SECRET: secret,
  ALIBABA_CLOUD_SECURITY_TOKEN: token,
} = process.env;

t.test(vpc === undefined ? 'a VPC of the simulator' : `${vpc} of a real account`, async (t) => {
  const place = async (): Promise<LivePlace> => {
    if (vpc === undefined) {
      const { sim, vpc } = await newWorld(t, 3);
      return { vpc: vpc.id, region: sim.region, endpoint: sim.endpoint, key: sim.key(), pace: QUICK };
    }
    if (region === undefined || id === undefined || secret === undefined) {
      throw new Error(
        'set ALIBABA_CLOUD_REGION_ID, ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (and ALIBABA_CLOUD_SECURITY_TOKEN)',
      );
    }
    const key = { id, secret, ...(token !== undefined && { token }) };
    return { vpc, region, key, ...(endpoint !== undefined && { endpoint }) };
  };
  const hosts = await liveHosts(t, await place());
  if (hosts.count === 0) throw new Error('no instance is running there');
  await routeProviderConformance(t, { single: hosts.count < 2, hosts: hosts.count }, hosts.make);
});
